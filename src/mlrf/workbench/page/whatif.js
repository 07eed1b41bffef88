// What-if: the nearest change that reaches a goal, as a list of changes to try.
import { classNames, numberOf } from "./answer.js";
import { SUPERSEDED, superseding } from "./api.js";
import { boundsOfChange, makeChangeable } from "./changeable.js";
import { $, make, options } from "./dom.js";
import { clearHeat } from "./heat.js";
import { pointText } from "./nearest.js";
import { short, shown, toNumber } from "./numbers.js";
import { oneFeature, SearchError, severalFeatures, twoFeatures } from "./search.js";

const AT_LEAST = "at least", AT_MOST = "at most", MOST_SHOWN = 5;
const next = superseding();

export function makeWhatIf(model) {
  const names = model.features.map((f) => [f.name, f.name]), labels = classNames(model);
  options($("heat-x"), names, names[0][0]);
  options($("heat-y"), names, (names[1] ?? names[0])[0]);
  options($("goal"), labels.length ? labels.map((text, i) => [String(i), `the class ${text}`]) : [[AT_LEAST, AT_LEAST], [AT_MOST, AT_MOST]]);
  $("target-label").hidden = labels.length > 0;
  makeChangeable(model);
  next();
  $("found").replaceChildren();
  clearHeat();
}

// Until a person chooses a class to reach, it is the likeliest one that the row has not.
export function suggestGoal(model, answer) {
  if (!model.classes || $("goal").dataset.model === model.name) return;
  $("goal").dataset.model = model.name;
  const own = model.classes.indexOf(answer.label), order = model.classes.map((_, i) => i).filter((i) => i !== own);
  if (order.length) $("goal").value = String(order.reduce((a, b) => (answer.probabilities[b] > answer.probabilities[a] ? b : a)));
}

function goalOf(model) {
  const goal = $("goal").value;
  if (model.classes) {
    const k = Number(goal), label = model.classes[k];
    const score = (prediction) => (Array.isArray(prediction) ? prediction[k] : k === 1 ? prediction : -prediction);
    return { reaches: (_prediction, found) => found === label, score };
  }
  const target = toNumber($("target").value);
  if (!Number.isFinite(target)) throw new SearchError("Give the number to reach");
  const sign = goal === AT_LEAST ? 1 : -1;
  return { reaches: (prediction) => sign * (numberOf(prediction) - target) >= 0, score: (prediction) => sign * numberOf(prediction) };
}

const sayFound = (...nodes) => $("found").replaceChildren(...nodes);

// Find the nearest changes and list them; `apply` puts one into the form. A search that is still under way is given up.
export async function findNearest(model, values, answer, apply) {
  const signal = next(), how = $("how-many").value;
  try {
    const goal = goalOf(model), bounds = boundsOfChange();
    if (goal.reaches(answer.prediction, answer.label)) return sayFound("This row is there already.");
    if (bounds.size < Number(how)) return sayFound("Choose more features that may change.");
    sayFound("Searching…");
    const task = { model, row: values, bounds, goal, signal, now: goal.score(answer.prediction) };
    const found = how === "1" ? await oneFeature(task)
      : how === "2" ? await twoFeatures(task, (progress) => sayFound(`Searching… ${progress}`)) : await severalFeatures(task);
    sayFound(...(found.length ? listOf(found, how, apply) : [noneText(bounds.size, how)]));
  } catch (error) {
    if (error.code === SUPERSEDED) return undefined;
    sayFound(error instanceof SearchError || error.status === undefined ? error.message : "");
    if (error.status !== undefined) throw error;
  }
  return undefined;
}

function noneText(n, how) {
  if (how === "1") return `No value of any one of ${n} features that may change reaches it.`;
  if (how === "2") return `No two values of any two of ${n} features that may change reach it.`;
  return "The search found no change that reaches it; one may exist nevertheless.";
}

// What a change changes: [name, from, to as text] of each feature.
function partsOf(change) {
  if (change.steps) return change.steps.map((step) => [step.feature, step.x, pointText(step.axis, step.points[0], step.x, step.bounds)]);
  const parts = change.axes.map((axis, i) => [axis.feature, change.xs[i], pointText(axis, change.points[i], change.xs[i], change.bounds[i])]);
  return parts.filter((_, i) => change.values[i] !== change.xs[i]);
}

function listOf(found, how, apply) {
  // One feature's change is found with every other feature that stays as it is.
  const changes = new Map();
  for (const change of found) {
    const text = partsOf(change).map(([name, from, to]) => `${name}: ${shown(from)} → ${to}`).join(", ");
    if (!changes.has(text)) changes.set(text, change);
  }
  const list = make("ol", {});
  for (const [text, change] of [...changes].slice(0, MOST_SHOWN)) {
    const names = (change.steps ?? change.axes).map((each) => each.feature);
    const result = change.label === undefined ? short(numberOf(change.prediction)) : shown(change.label);
    const button = make("button", { type: "button", textContent: "Try it", attributes: { "aria-label": `Try ${text}` } });
    button.addEventListener("click", () => apply(new Map(names.map((name, i) => [name, change.values[i]]))));
    list.append(make("li", {}, `${text} gives ${result} `, button));
  }
  return how === "3" ? [make("p", { textContent: "Found by a search, step by step: a smaller change may exist." }), list] : [list];
}
