// The nearest change that reaches a goal, by the points of exact curves: of one feature, or of two together.
import { full, nextUp, shown } from "./numbers.js";

export const ANYWHERE = { low: -Infinity, high: Infinity, missing: true };

const isNumber = (axis, point) => axis.cuts !== null && point <= axis.cuts.length;

// The ends of the part of a point's interval that lies within bounds, [first, last]; null where none does.
function interval(axis, point, { low, high }) {
  const isWhole = axis.kind !== "numeric", cut = axis.cuts[point - 1];
  const from = point === 0 ? -Infinity : isWhole ? cut + 1 : nextUp(cut);
  const to = point === axis.cuts.length ? Infinity : axis.cuts[point];
  const first = Math.max(from, isWhole ? Math.ceil(low) : low), last = Math.min(to, isWhole ? Math.floor(high) : high);
  return first <= last ? [first, last] : null;
}

// The value of a point that lies nearest to x, within bounds; undefined where there is none.
export function nearestValue(axis, point, x, bounds = ANYWHERE) {
  if (point === axis.at) return x;
  const value = axis.values[point];
  if (value === null) return bounds.missing ? null : undefined;
  if (!isNumber(axis, point)) return value;
  const ends = interval(axis, point, bounds);
  if (ends === null) return undefined;
  const start = typeof x === "number" ? x : value;
  return Math.min(Math.max(start, ends[0]), ends[1]);
}

// A point's nearest value as text; `write` turns its numbers into text.
export function pointText(axis, point, x, bounds = ANYWHERE, write = full) {
  const value = nearestValue(axis, point, x, bounds), cut = axis.cuts?.[point - 1];
  if (isNumber(axis, point) && axis.kind === "numeric" && typeof cut === "number" && value === nextUp(cut)) return `just above ${write(cut)}`;
  return typeof value === "number" ? write(value) : shown(value);
}

// How far a value lies from the row's own: a share of the range of the thresholds; another category, or missing, is 1.
export function distance(axis, value, x) {
  if (value === x) return 0;
  if (axis.cuts === null || typeof value !== "number" || typeof x !== "number") return 1;
  const span = axis.cuts.at(-1) - axis.cuts[0];
  return span > 0 && Number.isFinite(span) ? Math.abs(value - x) / span : 1;
}

// The value and the cost of each point of an axis; null for a point out of bounds.
function costsOf(axis, x, bounds) {
  return axis.values.map((_, point) => {
    const value = nearestValue(axis, point, x, bounds);
    return value === undefined ? null : { value, cost: distance(axis, value, x) };
  });
}

// Every point of a curve, or pair of points of a grid, within bounds: {points, values, cost, prediction, label}.
export function* reachable(answer, xs, bounds = []) {
  const { axes, predictions, labels } = answer, width = axes.at(-1).values.length;
  const costs = axes.map((axis, i) => costsOf(axis, xs[i], bounds[i] ?? ANYWHERE));
  for (let i = 0; i < predictions.length; i++) {
    const points = axes.length === 1 ? [i] : [Math.floor(i / width), i % width];
    const each = points.map((point, a) => costs[a][point]);
    if (each.includes(null)) continue;
    const cost = each.reduce((sum, one) => sum + one.cost, 0);
    yield { points, values: each.map((one) => one.value), cost, prediction: predictions[i], label: labels?.[i] };
  }
}

// The nearest of them that `reaches(prediction, label)`; null where none does.
export function nearestPoint(answer, xs, reaches, bounds = []) {
  let best = null;
  for (const each of reachable(answer, xs, bounds)) {
    if ((best === null || each.cost < best.cost) && reaches(each.prediction, each.label)) best = each;
  }
  return best;
}
