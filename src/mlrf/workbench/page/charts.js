// Drawings of many rows: a histogram, bars of mean contributions, a beeswarm, and a scatter of one feature.
import { brief, short, shown, ticks } from "./numbers.js";
import { colour, cut, dots, frame, small, svg } from "./svg.js";

const BINS = 30, SHADES = 7;

const extent = (xs) => [xs.reduce((a, b) => Math.min(a, b), Infinity), xs.reduce((a, b) => Math.max(a, b), -Infinity)];

function scale(low, high, from, to) {
  const span = high - low || 1;
  return (v) => from + ((v - low) / span) * (to - from);
}

function bottomTicks(drawn, low, high, x, y, width) {
  for (const tick of ticks(low, high, Math.max(2, Math.floor(width / 90)))) {
    drawn.append(svg("line", { x1: x(tick), x2: x(tick), y1: y, y2: y + 4, stroke: colour("--line") }));
    drawn.append(small({ x: x(tick), y: y + 16, "text-anchor": "middle" }, brief(tick)));
  }
}

// The number of values in each of `n` equal parts from `low` to `high`.
export function binned(values, low, high, n) {
  const counts = new Array(n).fill(0), at = scale(low, high, 0, n);
  for (const value of values) counts[Math.min(n - 1, Math.floor(at(value)))] += 1;
  return counts;
}

export function histogram({ width, height, values, title }) {
  const [low, high] = extent(values), counts = binned(values, low, high, BINS), [, most] = extent(counts);
  const left = 48, bottom = height - 24, x = scale(low, high, left, width - 8), each = (width - 8 - left) / BINS;
  const drawn = frame(width, height, title, `${values.length} rows from ${short(low)} to ${short(high)}`);
  counts.forEach((count, i) => {
    const tall = (bottom - 10) * (count / most), from = low + ((high - low) * i) / BINS, to = low + ((high - low) * (i + 1)) / BINS;
    drawn.append(svg("rect", { class: "bin", x: left + each * i, y: bottom - tall, width: Math.max(1, each - 1), height: tall, fill: colour("--accent") },
      svg("title", {}, `${count} rows from ${short(from)} to ${short(to)}`)));
  });
  drawn.append(small({ x: left - 4, y: 18, "text-anchor": "end" }, String(most)), small({ x: left - 4, y: bottom, "text-anchor": "end" }, "0"));
  bottomTicks(drawn, low, high, x, bottom, width - left);
  return drawn;
}

export function bar(share, width = 160) {
  return svg("svg", { width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" },
    svg("rect", { width: Math.max(1, share * width), height: 14, fill: colour("--accent") }));
}

// Shades from the lowest to the highest of a feature's values, by rank; a category counts by its order, missing has none.
function shadesOf(values) {
  const order = [...new Set(values.filter((v) => v !== null))].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1));
  const rank = new Map(order.map((v, i) => [v, order.length > 1 ? Math.round((i / (order.length - 1)) * (SHADES - 1)) : 0]));
  return values.map((v) => (v === null ? SHADES : rank.get(v)));
}

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function strokeOf(shade) {
  if (shade === SHADES) return colour("--line");
  const [low, high] = [channels(colour("--lower")), channels(colour("--raise"))], share = shade / (SHADES - 1);
  return `rgb(${low.map((from, i) => Math.round(from + share * (high[i] - from))).join(",")})`;
}

// How far each point of a line moves off it so that equal ones lie side by side, between -1 and 1.
function offsets(positions, size) {
  const taken = new Map();
  const piles = positions.map((x) => {
    const bin = Math.round(x / size), n = taken.get(bin) ?? 0;
    taken.set(bin, n + 1);
    return n;
  });
  const [, most] = extent([...taken.values()]);
  return piles.map((n) => ((n % 2 ? 1 : -1) * Math.ceil(n / 2)) / Math.max(8, most / 2));
}

// `lines`: [{name, values, contributions}], one for each feature, the most important first.
export function beeswarm({ width, lines, title }) {
  const line = 34, labels = Math.round(width * 0.3), height = line * lines.length + 30;
  const ends = lines.map((each) => extent(each.contributions)), [low] = extent(ends.map((e) => e[0])), [, high] = extent(ends.map((e) => e[1]));
  const x = scale(low, high, labels, width - 12), shades = Array.from({ length: SHADES + 1 }, (_, shade) => strokeOf(shade));
  const drawn = frame(width, height, title, `${lines.length} features; a dot is a row, blue a low value, red a high one`);
  drawn.append(svg("line", { x1: x(0), x2: x(0), y1: 0, y2: height - 26, stroke: colour("--line") }));
  lines.forEach(({ name, values, contributions }, i) => {
    const middle = line * i + line / 2, positions = contributions.map(x), shifts = offsets(positions, 4), own = shadesOf(values);
    drawn.append(svg("text", { x: 0, y: middle + 4 }, svg("title", {}, name), cut(name, Math.floor(labels / 7.2))));
    shades.forEach((stroke, shade) => {
      const points = positions.map((at, r) => [at, middle + shifts[r] * (line / 2 - 4)]).filter((_, r) => own[r] === shade);
      if (points.length) drawn.append(dots(points, stroke));
    });
  });
  bottomTicks(drawn, low, high, x, height - 26, width - labels);
  return drawn;
}

// The contribution of one feature against its value; returns the drawing, and the position of each row in it.
export function scatter({ width, height, values, contributions, title }) {
  const isNumber = values.some((v) => typeof v === "number"), left = 52, bottom = height - 24;
  const numbers = isNumber ? values.filter((v) => typeof v === "number") : [];
  const names = isNumber ? [] : [...new Set(values.map((v) => shown(v)))].sort(), [least, most] = isNumber ? extent(numbers) : [0, names.length - 1];
  const right = isNumber && values.includes(null) ? width - 70 : width - 12, x = scale(least, most, left + 8, right);
  const [low, high] = extent(contributions), y = scale(low, high, bottom - 8, 10);
  const across = (v) => (isNumber ? (typeof v === "number" ? x(v) : width - 24) : x(names.indexOf(shown(v))));
  const points = values.map((v, i) => [across(v), y(contributions[i])]);
  const drawn = frame(width, height, title, `${values.length} rows; contributions from ${short(low)} to ${short(high)}`);
  for (const v of low < high ? [low, high] : [low]) drawn.append(small({ x: left - 4, y: y(v) + 4, "text-anchor": "end" }, brief(v)));
  if (low < 0 && high > 0) drawn.append(svg("line", { x1: left, x2: width - 8, y1: y(0), y2: y(0), stroke: colour("--line") }));
  drawn.append(dots(points, colour("--accent"), 5));
  if (isNumber) bottomTicks(drawn, least, most, x, bottom, right - left);
  else names.slice(0, 12).forEach((name, i) => drawn.append(small({ x: x(i), y: bottom + 16, "text-anchor": "middle" }, cut(name, 12))));
  if (right === width - 70) drawn.append(small({ x: width - 24, y: bottom + 16, "text-anchor": "middle" }, "missing"));
  return { drawing: drawn, points };
}
