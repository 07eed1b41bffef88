// Drawings as SVG elements: a waterfall, and the steps of a response curve.
import { brief, short, shown, signed, ticks } from "./numbers.js";

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const cut = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);

function frame(width, height, title, text) {
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text ? `${title}. ${text}` : title,
    "font-family": "sans-serif", "font-size": 13, fill: colour("--ink"),
  }, svg("title", {}, title));
}

// The `top` largest contributions in descending order, and the sum of the others.
export function largest(contributions, top) {
  const order = Object.keys(contributions).map((name, i) => [name, contributions[name], i]);
  order.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]) || a[2] - b[2]);
  const bars = order.slice(0, top).map(([name, contribution]) => ({ names: [name], contribution }));
  const rest = order.slice(top).sort((a, b) => a[2] - b[2]);
  if (rest.length) bars.push({ names: rest.map((r) => r[0]), contribution: rest.reduce((sum, r) => sum + r[1], 0), isRest: true });
  return bars;
}

// `ghost` has contributions by name of the row that this one is compared with, and its base.
export function waterfall({ width, bars, values, base, margin, ghost, link, linkName }) {
  const line = 26, bar = 16, labels = Math.round(width * 0.42), right = 92, top = link ? 42 : 24;
  const height = top + line * (bars.length + 2) + 34;
  const sums = [base];
  for (const each of bars) sums.push(sums.at(-1) + each.contribution);
  const ghostOf = (each) => each.names.reduce((sum, name) => sum + ghost.contributions[name], 0);
  const ghostSums = [];
  if (ghost) bars.reduce((sum, each) => (ghostSums.push([sum, sum + ghostOf(each)]), ghostSums.at(-1)[1]), ghost.base);
  const all = [...sums, margin, ...ghostSums.flat()];
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const x = (v) => labels + ((v - low) / span) * (width - labels - right);
  const ink = colour("--ink"), thin = colour("--line");
  const drawn = frame(width, height, "Why this number", `${bars.length} bars from ${short(base)} to ${short(margin)}`);
  for (const tick of ticks(low, high, Math.max(2, Math.floor((width - labels - right) / 90)))) {
    drawn.append(svg("line", { x1: x(tick), x2: x(tick), y1: top, y2: height - 30, stroke: thin, "stroke-opacity": 0.35 }));
    drawn.append(svg("text", { x: x(tick), y: height - 14, "text-anchor": "middle", "font-size": 11 }, short(tick)));
    if (link) drawn.append(svg("text", { x: x(tick), y: top - 6, "text-anchor": "middle", "font-size": 11, class: "second-scale" }, brief(link(tick))));
  }
  drawn.append(svg("text", { x: 0, y: height - 14, "font-size": 11 }, "sum (margin)"));
  if (link) drawn.append(svg("text", { x: 0, y: top - 6, "font-size": 11 }, cut(`as prediction: ${linkName}`, Math.floor(labels / 6))));
  const write = (i, name, number, whole, bold) => {
    const y = top + line * i + bar - 2;
    const style = bold ? { "font-weight": "bold" } : {};
    drawn.append(svg("text", { x: 0, y, ...style }, svg("title", {}, whole), cut(name, Math.floor(labels / 7.2))));
    drawn.append(svg("text", { x: width, y, "text-anchor": "end", ...style }, number));
  };
  const mark = (i, v) => drawn.append(svg("line", { x1: x(v), x2: x(v), y1: top + line * i, y2: top + line * i + bar, stroke: ink, "stroke-width": 3 }));
  write(0, "average", short(base), "the average over the training rows", true);
  mark(0, base);
  bars.forEach((each, i) => {
    const name = each.isRest ? `${each.names.length} other features` : `${each.names[0]} = ${shown(values[each.names[0]])}`;
    const y = top + line * (i + 1), from = x(sums[i]), to = x(sums[i + 1]);
    drawn.append(svg("line", { x1: from, x2: from, y1: y - (line - bar), y2: y, stroke: thin }));
    if (ghost) {
      const [a, b] = ghostSums[i].map(x);
      drawn.append(svg("rect", { class: "ghost", x: Math.min(a, b), y: y - 3, width: Math.max(1, Math.abs(b - a)), height: bar + 6, fill: "none", stroke: thin, "stroke-width": 1.5 }));
    }
    drawn.append(svg("rect", {
      class: "bar", x: Math.min(from, to), y, width: Math.max(1, Math.abs(to - from)), height: bar,
      fill: colour(each.contribution >= 0 ? "--raise" : "--lower"),
    }, svg("title", {}, `${name}: ${signed(each.contribution)}`)));
    write(i + 1, name, signed(each.contribution), `${name}: ${each.contribution}`);
  });
  write(bars.length + 1, "this row", short(margin), `the sum for this row: ${margin}`, true);
  mark(bars.length + 1, margin);
  return drawn;
}

// The horizontal extent of each point of an axis between 0 and 1; points of one value stand side by side.
export function extents(axis) {
  const n = axis.values.length;
  if (axis.cuts === null) return axis.values.map((_, i) => [i / n, (i + 1) / n]);
  const { cuts } = axis, isNull = axis.values.at(-1) === null, room = isNull ? 0.86 : 1;
  const own = axis.values[axis.at];
  const marks = typeof own === "number" ? [...cuts, own] : cuts;
  const low = Math.min(...marks), high = Math.max(...marks);
  const span = high - low || 1;
  const at = (v) => room * (0.06 + 0.88 * ((v - low) / span));
  const edges = [0, ...cuts.map(at), room];
  const found = [];
  for (let i = 0; i + 1 < edges.length; i++) found.push([edges[i], edges[i + 1]]);
  if (isNull) found.push([0.92, 1]);
  return found;
}

export function steps({ width, height, axis, ys, title }) {
  const left = 52, bottom = 18, low = Math.min(...ys), high = Math.max(...ys), span = high - low || 1;
  const y = (v) => 6 + (height - bottom - 12) * (1 - (v - low) / span);
  const drawn = frame(width, height, title, `answers from ${short(low)} to ${short(high)}`);
  const where = extents(axis).map(([a, b]) => [left + a * (width - left - 4), left + b * (width - left - 4)]);
  const isLine = axis.cuts !== null, n = isLine ? axis.cuts.length + 1 : 0;
  const path = where.slice(0, n).map(([a, b], i) => `${i ? "V" : `M${a} `}${y(ys[i])}${i ? "" : ""}H${b}`).join("");
  if (isLine) drawn.append(svg("path", { d: path, fill: "none", stroke: colour("--accent"), "stroke-width": 2 }));
  where.slice(n).forEach(([a, b], i) => drawn.append(svg("line", {
    x1: a, x2: Math.max(b - 1, a + 1), y1: y(ys[n + i]), y2: y(ys[n + i]), stroke: colour("--accent"), "stroke-width": 4,
  }, svg("title", {}, `${shown(axis.values[n + i])}: ${short(ys[n + i])}`))));
  const own = axis.values[axis.at];
  let [a, b] = where[axis.at];
  if (isLine && axis.x !== undefined && own !== null && axis.cuts.length) {
    const marks = [...axis.cuts, own], least = Math.min(...marks), most = Math.max(...marks);
    const room = axis.values.at(-1) === null ? 0.86 : 1;
    a = b = left + (width - left - 4) * room * Math.max(0, Math.min(1, 0.06 + 0.88 * ((axis.x - least) / (most - least || 1))));
  }
  drawn.append(svg("circle", { cx: (a + b) / 2, cy: y(ys[axis.at]), r: 5, fill: colour("--raise") }));
  for (const v of high > low ? [low, high] : [low]) drawn.append(svg("text", { x: left - 4, y: y(v) + 4, "text-anchor": "end", "font-size": 11 }, brief(v)));
  const ends = isLine ? (axis.cuts.length ? [axis.cuts[0], axis.cuts.at(-1)].map(short) : []) : [shown(axis.values[0]), shown(axis.values.at(-1))];
  if (ends.length) {
    drawn.append(svg("text", { x: left, y: height - 4, "font-size": 11 }, cut(ends[0], 14)));
    drawn.append(svg("text", { x: width - 4 - (isLine && axis.values.at(-1) === null ? (width - left) * 0.12 : 0), y: height - 4, "text-anchor": "end", "font-size": 11 }, cut(ends[1], 14)));
  }
  return drawn;
}

// Save a drawing as a file: SVG as it is, PNG through a canvas of twice its size.
export async function save(drawing, name, asPng) {
  const copy = drawing.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  const { width, height } = drawing.viewBox.baseVal;
  copy.prepend(svg("rect", { width, height, fill: colour("--paper") }));
  let blob = new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
  if (asPng) {
    const image = new Image(), source = URL.createObjectURL(blob);
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * 2, height * 2];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(source);
    blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.${asPng ? "png" : "svg"}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
