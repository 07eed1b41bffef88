// The answer to a row, and why: prediction, waterfall, table.
import { $, make, options, tableRow } from "./dom.js";
import { full, LINK_NAMES, linkOf, short, shown, signed, wholeText } from "./numbers.js";
import { save } from "./svg.js";
import { byMagnitude, largest, waterfall } from "./waterfall.js";

let view = null;

export const classNames = (model) => (model.classes ?? []).map((c) => (typeof c === "string" ? c : JSON.stringify(c)));

// What an answer's explanation says of one output: base, margin, contributions by name.
export function ofOutput(explanation, names, k) {
  if (!Array.isArray(explanation.margin)) return explanation;
  const name = names.length ? names[k] : String(k);
  return { base: explanation.base[k], margin: explanation.margin[k], contributions: explanation.contributions[name] };
}

// The prediction in the model's own terms, as a text.
export function predictionText(model, { prediction, label, probabilities }) {
  if (label === undefined) return Array.isArray(prediction) ? prediction.map(short).join(", ") : short(prediction);
  return `${shown(label)} (probability ${short(probabilities[model.classes.findIndex((c) => c === label)])})`;
}

// Show an answer and the one it is compared with; `explanation` may be missing.
export function showAnswer(model, values, answer, reference) {
  view = { model, values, answer, reference };
  const { prediction, probabilities } = answer, names = classNames(model);
  $("prediction").textContent = predictionText(model, answer);
  $("prediction").title = JSON.stringify(prediction);
  $("predicted").textContent = `${model.name} predicts`;
  $("probabilities").hidden = probabilities === undefined;
  if (probabilities) $("probabilities").tBodies[0].replaceChildren(...probabilities.map((p, i) => tableRow(names[i], full(p))));
  const k = Array.isArray(answer.explanation?.margin) ? answer.explanation.margin.length : 1;
  $("class-label").hidden = k === 1;
  if (k > 1 && $("class").options.length !== k) {
    const likeliest = String(prediction.indexOf(Math.max(...prediction)));
    options($("class"), Array.from({ length: k }, (_, i) => [String(i), names[i] ?? `output ${i}`]), likeliest);
  }
  showChange();
  drawWhy();
}

export const output = () => ($("class-label").hidden ? 0 : Number($("class").value));

// The one number that curves show: a class's probability, or the prediction.
export const numberOf = (prediction) => (Array.isArray(prediction) ? prediction[output()] : prediction);

// What that number is.
export function nameOfNumber() {
  const names = classNames(view.model), k = Array.isArray(view.answer.prediction) ? output() : 1;
  return names.length ? `the probability of ${names[k]}` : "the answer";
}

function showChange() {
  const { answer, reference } = view;
  const before = reference ? numberOf(reference.answer.prediction) : null, now = numberOf(answer.prediction);
  $("change").textContent = before === null || before === now ? "" : `Before ${short(before)}, now ${short(now)}: ${signed(now - before)}`;
}

function whyText(own, model, heaviest) {
  const driven = heaviest.length ? `What moves it most: ${heaviest.join(" and ")}. ` : "";
  const link = model.link.kind === "identity" ? "The sum is the prediction."
    : `The prediction is made from the sum: ${LINK_NAMES[model.link.kind] ?? model.link.kind}.`;
  return `${driven}The model starts at its average, ${short(own.base)}, and each feature moves the sum up or down, to ${short(own.margin)}. ${link}`;
}

// What a contribution does: to the sum, and, where the prediction is its exponential, to the prediction.
function effectText(contribution, { kind }) {
  return kind === "exp" ? `${signed(contribution)}: times ${short(Math.exp(contribution))}` : signed(contribution);
}

export function drawWhy() {
  if (!view) return;
  const { model, values, answer, reference } = view, box = $("waterfall"), k = output(), names = classNames(model);
  if (!answer.explanation) {
    $("why").textContent = "This model cannot be explained, or the key may not ask it to be, so there are only its predictions.";
    box.replaceChildren();
    $("numbers").hidden = true;
    return;
  }
  const own = ofOutput(answer.explanation, names, k);
  const ghost = reference?.answer.explanation && reference.answer !== answer ? ofOutput(reference.answer.explanation, names, k) : null;
  const top = Math.max(1, Math.floor(Number($("top").value)) || 10), bars = largest(own.contributions, top);
  const heaviest = bars.filter((b) => !b.isRest).slice(0, 2).map((b) => `${b.names[0]} (${effectText(b.contribution, model.link)})`);
  $("why").textContent = whyText(own, model, heaviest);
  const link = linkOf(model.link);
  box.replaceChildren(waterfall({
    width: Math.max(300, Math.min(760, box.clientWidth || 760)), bars, values: Object.fromEntries(values),
    base: own.base, margin: own.margin, ghost, link, linkName: model.link.kind,
  }));
  showNumbers(own, ghost, values);
}

// The lines of the table: name, value, contribution, and those of the row before.
function lines(own, ghost, values) {
  const line = (name, value, now, before) => [name, value, full(now), ghost ? full(before) : "", ghost ? full(now - before) : ""];
  return [
    line("average (base)", "", own.base, ghost?.base),
    ...byMagnitude(own.contributions).map((name) => line(name, wholeText(values.get(name)), own.contributions[name], ghost?.contributions[name])),
    line("this row (margin)", "", own.margin, ghost?.margin),
  ];
}

function showNumbers(own, ghost, values) {
  $("numbers").hidden = false;
  if ($("numbers").open) $("numbers").querySelector("tbody").replaceChildren(...lines(own, ghost, values).map((each) => tableRow(...each)));
}

// Copy the table for a spreadsheet: columns separated by tabs.
export async function copyTable() {
  const table = $("numbers").querySelector("table");
  const text = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.replace(/[\t\n]/g, " ")).join("\t")).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    $("table-copied").textContent = "Copied.";
  } catch {
    $("table-copied").replaceChildren(make("textarea", { value: text, readOnly: true, rows: 6, attributes: { "aria-label": "The table, to copy" } }));
  }
}

export function saveWhy(asPng) {
  const drawing = $("waterfall").querySelector("svg");
  return drawing ? save(drawing, `${view.model.name}-why`, asPng) : undefined;
}
