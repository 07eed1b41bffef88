// The answer to a row, and why: prediction, waterfall, table.
import { $, make, options, tableRow } from "./dom.js";
import { LINK_NAMES, linkOf, short, shown, signed } from "./numbers.js";
import { largest, save, waterfall } from "./svg.js";

let view = null;

export const classNames = (model) => (model.classes ?? []).map((c) => (typeof c === "string" ? c : JSON.stringify(c)));

// What an answer's explanation says of one output: base, margin, contributions by name.
export function ofOutput(explanation, names, k) {
  if (!Array.isArray(explanation.margin)) return explanation;
  const name = names.length ? names[k] : String(k);
  return { base: explanation.base[k], margin: explanation.margin[k], contributions: explanation.contributions[name] };
}

// Show an answer beside the one it is compared with; `explanation` may be missing.
export function showAnswer(model, values, answer, reference) {
  view = { model, values, answer, reference };
  const { prediction, label, probabilities } = answer, names = classNames(model);
  if (label !== undefined) {
    const chance = probabilities[model.classes.findIndex((c) => c === label)];
    $("prediction").textContent = `${shown(label)} (probability ${short(chance)})`;
  } else $("prediction").textContent = Array.isArray(prediction) ? prediction.map(short).join(", ") : short(prediction);
  $("prediction").title = JSON.stringify(prediction);
  $("probabilities").hidden = probabilities === undefined;
  if (probabilities) $("probabilities").tBodies[0].replaceChildren(...probabilities.map((p, i) => tableRow(names[i], String(p))));
  const k = Array.isArray(answer.explanation?.margin) ? answer.explanation.margin.length : 1;
  $("class-label").hidden = k === 1;
  if (k > 1 && $("class").options.length !== k) {
    options($("class"), Array.from({ length: k }, (_, i) => [String(i), names[i] ?? `output ${i}`]), String(prediction.indexOf(Math.max(...prediction))));
  }
  showChange();
  drawWhy();
}

export const output = () => ($("class-label").hidden ? 0 : Number($("class").value));

// The one number that curves show: a class's probability, or the prediction.
export const numberOf = (prediction) => (Array.isArray(prediction) ? prediction[output()] : prediction);

function showChange() {
  const { answer, reference } = view;
  const before = reference ? numberOf(reference.answer.prediction) : null, now = numberOf(answer.prediction);
  $("change").textContent = before === null || before === now ? "" : `Before ${short(before)}, now ${short(now)}: ${signed(now - before)}`;
}

export function drawWhy() {
  if (!view) return;
  const { model, values, answer, reference } = view, box = $("waterfall"), k = output(), names = classNames(model);
  if (!answer.explanation) {
    $("why").textContent = "This model is not made of trees that can be explained, so there are only its predictions.";
    box.replaceChildren();
    $("numbers").hidden = true;
    return;
  }
  const own = ofOutput(answer.explanation, names, k);
  const ghost = reference?.answer.explanation && reference.answer !== answer ? ofOutput(reference.answer.explanation, names, k) : null;
  const top = Math.max(1, Math.floor(Number($("top").value)) || 10), bars = largest(own.contributions, top);
  const link = linkOf(model.link), heaviest = bars.filter((b) => !b.isRest).slice(0, 2).map((b) => b.names[0]);
  $("why").textContent = `The model starts at its average, ${short(own.base)}, and each feature moves the sum up or down, to ${short(own.margin)}. `
    + (heaviest.length ? `What moves it most: ${heaviest.join(" and ")}. ` : "")
    + (model.link.kind === "identity" ? "The sum is the prediction." : `The prediction is made from the sum: ${LINK_NAMES[model.link.kind] ?? model.link.kind}.`);
  const drawing = waterfall({
    width: Math.max(300, Math.min(760, box.clientWidth || 760)), bars, values: Object.fromEntries(values), base: own.base, margin: own.margin,
    ghost, link, linkName: model.link.kind,
  });
  box.replaceChildren(drawing);
  showNumbers(own, ghost, values);
}

function showNumbers(own, ghost, values) {
  $("numbers").hidden = false;
  if (!$("numbers").open) return;
  const order = Object.keys(own.contributions).sort((a, b) => Math.abs(own.contributions[b]) - Math.abs(own.contributions[a]));
  $("numbers").querySelector("tbody").replaceChildren(
    tableRow("average (base)", "", String(own.base), ghost ? String(ghost.base) : "", ""),
    ...order.map((name) => {
      const phi = own.contributions[name], before = ghost?.contributions[name];
      return tableRow(name, valueText(values.get(name)), String(phi), ghost ? String(before) : "", ghost ? String(phi - before) : "");
    }),
    tableRow("this row (margin)", "", String(own.margin), ghost ? String(ghost.margin) : "", ghost ? String(own.margin - ghost.margin) : ""));
}

const valueText = (value) => (value === null || value === undefined ? "missing" : String(value));

export function saveWhy(asPng) {
  const drawing = $("waterfall").querySelector("svg");
  if (drawing) return save(drawing, `${view.model.name}-why`, asPng);
  return undefined;
}
