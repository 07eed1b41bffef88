// The nearest change that reaches a goal, by the points of exact curves: of one feature, or of two together.
import { nextUp, short, shown } from "./numbers.js";

// The value of a point that lies nearest to x: the end of its interval that faces x.
export function nearestValue(axis, point, x) {
  if (point === axis.at) return x;
  if (axis.cuts === null || point > axis.cuts.length || typeof x !== "number") return axis.values[point];
  if (point < axis.at) return axis.cuts[point];
  return axis.kind === "numeric" ? nextUp(axis.cuts[point - 1]) : axis.cuts[point - 1] + 1;
}

export function pointText(axis, point, x) {
  const value = nearestValue(axis, point, x);
  if (axis.cuts !== null && point > axis.at && point <= axis.cuts.length && axis.kind === "numeric" && typeof x === "number") return `just above ${axis.cuts[point - 1]}`;
  return shown(value) === short(value) && typeof value === "number" ? String(value) : shown(value);
}

// How far a point lies from the row's own: a share of the range of the thresholds; another category, or missing, is 1.
export function distance(axis, point, x) {
  if (point === axis.at) return 0;
  const value = nearestValue(axis, point, x);
  if (axis.cuts === null || typeof value !== "number" || typeof x !== "number") return 1;
  const span = axis.cuts.at(-1) - axis.cuts[0];
  return span > 0 && Number.isFinite(span) ? Math.abs(value - x) / span : 1;
}

// The nearest point of a curve, or pair of points of a grid, that `reaches(prediction, label)`; null where none does.
export function nearestPoint(answer, xs, reaches) {
  const { axes, predictions, labels } = answer, width = axes.at(-1).values.length;
  const costs = axes.map((axis, i) => axis.values.map((_, point) => distance(axis, point, xs[i])));
  let best = null;
  predictions.forEach((prediction, i) => {
    if (!reaches(prediction, labels?.[i])) return;
    const points = axes.length === 1 ? [i] : [Math.floor(i / width), i % width];
    const cost = points.reduce((sum, point, a) => sum + costs[a][point], 0);
    if (best === null || cost < best.cost) best = { points, cost, prediction, label: labels?.[i] };
  });
  return best;
}
