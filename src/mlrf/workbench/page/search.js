// Searches for the nearest change over several features: exact for one and for two, greedy beyond.
import { askCurve } from "./api.js";
import { nearestPoint, reachable } from "./nearest.js";

const AT_ONCE = 4, MOST_PAIR_POINTS = 1_000_000, MOST_STEPS = 6;

export class SearchError extends Error {}

// Run `work` over items, some at once, in order of their start.
export async function eachOf(items, work) {
  const queue = [...items.entries()], found = [];
  const run = async () => {
    for (let next; (next = queue.shift()); ) found[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, queue.length) }, run));
  return found;
}

// A change that a search found: the axes, their points and values, and what the model answers.
function changeOf(best, answer, row, bounds) {
  return best && { ...best, axes: answer.axes, xs: answer.axes.map((axis) => row.get(axis.feature)), bounds };
}

async function searched(task, curves, pick) {
  const { bounds, row } = task;
  return eachOf(curves, async (vary) => {
    const answer = await askCurve(task.model, row, vary, task.signal), own = answer.axes.map((axis) => bounds.get(axis.feature));
    return pick(answer, answer.axes.map((axis) => row.get(axis.feature)), own);
  });
}

const ordered = (found) => found.filter(Boolean).sort((a, b) => a.cost - b.cost);

// The nearest change of each one of the features, the nearest first. `task`: {model, row, bounds, goal, signal}.
export async function oneFeature(task) {
  const pick = (answer, xs, own) => changeOf(nearestPoint(answer, xs, task.goal.reaches, own), answer, task.row, own);
  return ordered(await searched(task, [...task.bounds.keys()], pick));
}

// The nearest change of each two of the features. SearchError where they have too many points together.
export async function twoFeatures(task, progress = () => {}) {
  const names = [...task.bounds.keys()];
  const sizes = new Map(await searched(task, names, (answer) => [answer.axes[0].feature, answer.axes[0].values.length]));
  const pairs = names.flatMap((name, i) => names.slice(i + 1).map((other) => [name, other]));
  const points = pairs.reduce((sum, [a, b]) => sum + sizes.get(a) * sizes.get(b), 0);
  if (points > MOST_PAIR_POINTS) {
    throw new SearchError(`Every two of these ${names.length} features have ${points.toLocaleString()} points together, more than `
      + `${MOST_PAIR_POINTS.toLocaleString()}: choose fewer features that may change.`);
  }
  let done = 0;
  const pick = (answer, xs, own) => {
    progress(`${++done} of ${pairs.length} pairs`);
    return changeOf(nearestPoint(answer, xs, task.goal.reaches, own), answer, task.row, own);
  };
  return ordered(await searched(task, pairs, pick));
}

// One change of several features, step by step: a smaller one may exist. None where no step gets nearer to the goal.
export async function severalFeatures(task) {
  const row = new Map(task.row), changes = new Map();
  let now = task.now;
  for (let step = 0; step < MOST_STEPS; step++) {
    const steps = await searched({ ...task, row }, [...task.bounds.keys()], (answer, xs, own) => bestStep(answer, xs, own, task.goal, now));
    const best = steps.filter(Boolean).sort((a, b) => b.reached - a.reached || (a.reached ? a.cost - b.cost : b.rate - a.rate))[0];
    if (!best) return [];
    row.set(best.feature, best.values[0]);
    changes.set(best.feature, best);
    now = task.goal.score(best.prediction);
    if (best.reached) {
      return [{ steps: [...changes.values()], prediction: best.prediction, label: best.label, values: [...changes.keys()].map((name) => row.get(name)) }];
    }
  }
  return [];
}

// The point of one curve that reaches the goal at the least cost, else the one that gains most for its cost.
function bestStep(answer, xs, own, goal, now) {
  let best = null;
  const axis = answer.axes[0];
  for (const each of reachable(answer, xs, own)) {
    const reached = goal.reaches(each.prediction, each.label) ? 1 : 0, gain = goal.score(each.prediction) - now;
    if (each.cost === 0 || (!reached && gain <= 0)) continue;
    const found = { ...each, axis, x: xs[0], bounds: own[0], feature: axis.feature, reached, rate: gain / each.cost };
    if (!best || found.reached > best.reached || (found.reached === best.reached && (reached ? found.cost < best.cost : found.rate > best.rate))) best = found;
  }
  return best;
}
