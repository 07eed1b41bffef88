// A response curve: the steps of one feature, or of two models laid over each other.
import { brief, short, shown } from "./numbers.js";
import { colour, cut, frame, small, svg } from "./svg.js";

const MISSING_FROM = 0.85, NUMBERS_SHARE = 0.79;
const LEFT = 52, BOTTOM = 18;

const hasMissing = (axis) => axis.values.at(-1) === null;

// The function from a number to its horizontal position between 0 and 1.
function positionOf(axis) {
  const share = hasMissing(axis) ? NUMBERS_SHARE : 1, x = axis.x ?? axis.values[axis.at];
  const marks = typeof x === "number" ? [...axis.cuts, x] : axis.cuts;
  const low = Math.min(...marks), span = Math.max(...marks) - low || 1;
  return (v) => share * (0.06 + 0.88 * ((v - low) / span));
}

// The horizontal extent of each point of an axis between 0 and 1; points of one value stand side by side.
export function extents(axis) {
  const n = axis.values.length;
  if (axis.cuts === null) return axis.values.map((_, i) => [i / n, (i + 1) / n]);
  const edges = [0, ...axis.cuts.map(positionOf(axis)), hasMissing(axis) ? NUMBERS_SHARE : 1], found = [];
  for (let i = 0; i + 1 < edges.length; i++) found.push([edges[i], edges[i + 1]]);
  if (hasMissing(axis)) found.push([MISSING_FROM, 1]);
  return found;
}

// Draw `series`: [{ys, stroke, dash}] over one axis, the row's own point marked on each.
export function steps({ width, height, axis, series, title }) {
  const all = series.flatMap((each) => each.ys.filter((y) => y !== null));
  const low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b)), span = high - low || 1;
  const y = (v) => 6 + (height - BOTTOM - 12) * (1 - (v - low) / span);
  const across = (share) => LEFT + share * (width - LEFT - 4);
  const where = extents(axis).map(([a, b]) => [across(a), across(b)]);
  const isLine = axis.cuts !== null, n = isLine ? axis.cuts.length + 1 : 0;
  const drawn = frame(width, height, title, `answers from ${short(low)} to ${short(high)}`);
  let [a, b] = where[axis.at];
  if (isLine && typeof axis.x === "number" && axis.cuts.length) a = b = across(Math.max(0, Math.min(1, positionOf(axis)(axis.x))));
  for (const { ys, stroke, dash } of series) {
    const line = { stroke, ...(dash ? { "stroke-dasharray": dash } : {}) };
    const path = where.slice(0, n).map(([from, to], i) => `${i ? "V" : `M${from} `}${y(ys[i])}H${to}`).join("");
    if (isLine) drawn.append(svg("path", { class: "curve", d: path, fill: "none", "stroke-width": 2, ...line }));
    where.slice(n).forEach(([from, to], i) => {
      if (ys[n + i] === null) return;
      const ends = { x1: from, x2: Math.max(to - 1, from + 1), y1: y(ys[n + i]), y2: y(ys[n + i]) };
      drawn.append(svg("line", { ...ends, "stroke-width": 4, ...line }, svg("title", {}, `${shown(axis.values[n + i])}: ${short(ys[n + i])}`)));
    });
    if (ys[axis.at] !== null) drawn.append(svg("circle", { cx: (a + b) / 2, cy: y(ys[axis.at]), r: 5, fill: colour("--raise") }));
  }
  for (const v of high > low ? [low, high] : [low]) drawn.append(small({ x: LEFT - 4, y: y(v) + 4, "text-anchor": "end" }, brief(v)));
  drawn.append(...endsOf(axis, isLine, width, height));
  return drawn;
}

// The first and the last threshold, where they are, or the first and the last category.
function endsOf(axis, isLine, width, height) {
  const y = height - 4, across = (share) => LEFT + share * (width - LEFT - 4);
  if (!isLine) {
    const [first, last] = [axis.values[0], axis.values.at(-1)].map((value) => cut(shown(value), 14));
    return [small({ x: LEFT, y }, first), small({ x: width - 4, y, "text-anchor": "end" }, last)];
  }
  const cuts = axis.cuts.length > 1 ? [axis.cuts[0], axis.cuts.at(-1)] : axis.cuts;
  const marks = cuts.flatMap((value) => {
    const x = across(positionOf(axis)(value));
    const tick = svg("line", { x1: x, x2: x, y1: height - BOTTOM, y2: height - BOTTOM + 4, stroke: "currentColor" });
    // Left of its tick where "missing" follows.
    const anchor = hasMissing(axis) && value === cuts.at(-1) && cuts.length > 1 ? "end" : "middle";
    return [tick, small({ x, y, "text-anchor": anchor }, cut(short(value), 14))];
  });
  return hasMissing(axis) ? [...marks, small({ x: width - 4, y, "text-anchor": "end" }, "missing")] : marks;
}

// One axis over which two curves of a feature are drawn: all cuts of both, or all categories, and each curve's answers on it.
export function overlaid(first, second) {
  const [one, two] = [first.axes[0], second.axes[0]];
  if (one.cuts !== null && two.cuts !== null) {
    const cuts = [...new Set([...one.cuts, ...two.cuts])].sort((a, b) => a - b), missing = hasMissing(one) || hasMissing(two);
    const pointOf = (axis, i) => (i < cuts.length ? firstAtLeast(axis.cuts, cuts[i]) : axis.cuts.length);
    const ysOf = (axis, ys) => [
      ...Array.from({ length: cuts.length + 1 }, (_, i) => ys[pointOf(axis, i)]),
      ...(missing ? [hasMissing(axis) ? ys.at(-1) : null] : []),
    ];
    const own = one.values[one.at], x = one.x;
    const at = own === null ? cuts.length + 1 : firstAtLeast(cuts, typeof x === "number" ? x : own);
    const values = [...cuts, (cuts.at(-1) ?? 0) + 1, ...(missing ? [null] : [])];
    return { axis: { ...one, cuts, values, at, x }, ysOf: (answer, ys) => ysOf(answer.axes[0], ys) };
  }
  const keys = [...new Set([...one.values, ...two.values].map((v) => JSON.stringify(v)))].sort((a, b) => (a === "null") - (b === "null"));
  const ysOf = (axis, ys) => {
    const index = new Map(axis.values.map((v, i) => [JSON.stringify(v), i]));
    return keys.map((key) => (index.has(key) ? ys[index.get(key)] : null));
  };
  const at = keys.indexOf(JSON.stringify(one.values[one.at]));
  return { axis: { ...one, cuts: null, values: keys.map((key) => JSON.parse(key)), at }, ysOf: (answer, ys) => ysOf(answer.axes[0], ys) };
}

// The number of cuts below x: the point whose interval holds it.
export function firstAtLeast(cuts, x) {
  let low = 0, high = cuts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cuts[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}
