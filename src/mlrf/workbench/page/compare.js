// Compare: one row answered by two served models of the same features, or of two versions of one model.
import { classNames, numberOf, ofOutput, output, predictionText } from "./answer.js";
import { askWhy, latest } from "./api.js";
import { fetchCurves } from "./curves.js";
import { $, make, options, tableRow } from "./dom.js";
import { full, linkOf, short, signed, toNumber, wholeText } from "./numbers.js";
import { overlaid, steps } from "./steps.js";
import { colour } from "./svg.js";
import { barsOf, sumsOf, waterfall } from "./waterfall.js";

const BARS = 8, CURVES = 12, NONE = "No other served model has the same features and classes. To serve an earlier version too: mlrf serve REPOSITORY REPOSITORY/NAME@1";
let compared = null, shownPair = null;

const featuresOf = (model) => JSON.stringify(model.features.map((f) => [f.name, f.kind]).sort());

// The models that take the same rows as this one, and give the same kind of answer.
export function comparable(models, model) {
  return models.filter((other) => other !== model && featuresOf(other) === featuresOf(model)
    && JSON.stringify(other.classes) === JSON.stringify(model.classes));
}

const titleOf = (model) => `${model.name}, version ${model.version}`;

// Compare the answer to a row; called again for each new answer while the view is open.
export function compareRow(state) {
  compared = state;
  const others = comparable(state.models, state.model), before = $("other").value;
  options($("other"), others.map((m) => [m.name, titleOf(m)]), others.some((m) => m.name === before) ? before : others[0]?.name);
  $("other-label").hidden = others.length === 0;
  $("compared").hidden = others.length === 0;
  $("compare-none").textContent = others.length ? "" : NONE;
  return others.length ? run() : undefined;
}

export const chooseOther = () => run();

const run = latest(async () => {
  const { models, model, answered: values, answer } = compared, other = models.find((m) => m.name === $("other").value);
  if (!answer || !other) return;
  const second = await askWhy(other, values);
  const sides = [{ model, answer }, { model: other, answer: second }];
  shownPair = { sides, values };
  for (const [i, side] of sides.entries()) {
    $(`side-${i}-name`).textContent = titleOf(side.model);
    $(`side-${i}-prediction`).textContent = predictionText(side.model, side.answer);
    $(`side-${i}-prediction`).title = JSON.stringify(side.answer.prediction);
  }
  const [a, b] = sides.map((side) => numberOf(side.answer.prediction));
  $("compare-change").textContent = a === b ? "Both give the same answer." : `The second minus the first: ${signed(b - a)}`;
  makeClass();
  makeActual(model);
  showNearer();
  drawCompared();
  await drawBoth(sides, values);
});

// The class that is compared is the one of the first view.
function makeClass() {
  $("compare-class-label").hidden = $("class-label").hidden;
  options($("compare-class"), [...$("class").options].map((each) => [each.value, each.textContent]), $("class").value);
}

export function chooseClass() {
  $("class").value = $("compare-class").value;
  return run();
}

// What explains each side of one output, or null where one of them is not explained.
function explained() {
  const { sides } = shownPair, k = output();
  if (sides.some((side) => !side.answer.explanation)) return null;
  return sides.map((side) => ofOutput(side.answer.explanation, classNames(side.model), k));
}

export function drawCompared() {
  if (!shownPair) return;
  const own = explained(), { sides, values } = shownPair;
  $("compare-differences").hidden = own === null;
  if (!own) {
    sides.forEach((_, i) => $(`side-${i}-why`).replaceChildren("Not explained: only its predictions are compared."));
    return;
  }
  const size = (name) => Math.max(...own.map((each) => Math.abs(each.contributions[name])));
  const names = Object.keys(own[0].contributions).sort((x, y) => size(y) - size(x));
  const bars = own.map((each) => barsOf(each.contributions, names.slice(0, BARS)));
  const links = sides.map((side) => side.model.link), sameScale = links[0].kind === links[1].kind;
  const sums = own.map((each, i) => [...sumsOf(each.base, bars[i]), each.margin]);
  sides.forEach((side, i) => {
    const box = $(`side-${i}-why`);
    box.replaceChildren(waterfall({
      width: Math.max(300, Math.min(560, box.clientWidth || 480)), bars: bars[i], values: Object.fromEntries(values),
      base: own[i].base, margin: own[i].margin, link: linkOf(links[i]), linkName: links[i].kind,
      domain: sameScale ? sums.flat() : undefined, title: `Why ${side.model.name} says so`,
    }));
    $(`difference-${i}`).textContent = side.model.name;
  });
  drawDifferences(own, names, values);
}

function drawDifferences([one, two], names, values) {
  const line = (name, value, a, b) => tableRow(name, value, full(a), full(b), full(b - a));
  const order = [...names].sort((x, y) => Math.abs(two.contributions[y] - one.contributions[y]) - Math.abs(two.contributions[x] - one.contributions[x]));
  $("differences").replaceChildren(
    line("average (base)", "", one.base, two.base),
    ...order.map((name) => line(name, wholeText(values.get(name)), one.contributions[name], two.contributions[name])),
    line("this row (margin)", "", one.margin, two.margin));
}

// Curves of both models over each other, of the features that move either of them most.
async function drawBoth(sides, values) {
  const own = explained(), all = sides[0].model.features.map((f) => f.name);
  const size = (name) => Math.max(...own.map((each) => Math.abs(each.contributions[name])));
  const names = own ? all.sort((a, b) => size(b) - size(a)) : all;
  let curves;
  try {
    curves = await Promise.all(sides.map((side) => fetchCurves(side.model, values, names.slice(0, CURVES))));
  } catch (error) {
    $("compare-curves").replaceChildren(error.code === "NO_THRESHOLDS" ? "One of the models has no thresholds, so there are no exact curves to compare." : "");
    if (error.code !== "NO_THRESHOLDS") throw error;
    return;
  }
  $("compare-curves").replaceChildren(...names.slice(0, CURVES).map((name) => {
    const pair = curves.map((each) => each.get(name)), { axis, ysOf } = overlaid(...pair);
    const strokes = [[colour("--accent"), ""], [colour("--second"), "5 3"]];
    const series = pair.map((answer, i) => ({ ys: ysOf(answer, answer.predictions.map(numberOf)), stroke: strokes[i][0], dash: strokes[i][1] }));
    const drawing = steps({ width: 240, height: 120, axis, series, title: `Answers of both as ${name} changes` });
    return make("figure", { attributes: { "data-feature": name } }, make("figcaption", {}, make("strong", { textContent: name })), drawing);
  }));
}

// A field for what really happened: a class, or a number.
function makeActual(model) {
  const isClass = Boolean(model.classes);
  $("actual-class").hidden = !isClass;
  $("actual").hidden = isClass;
  if (isClass && $("actual-class").dataset.of !== JSON.stringify(model.classes)) {
    $("actual-class").dataset.of = JSON.stringify(model.classes);
    options($("actual-class"), [["", "not known"], ...classNames(model).map((text, i) => [String(i), text])], "");
  }
}

// Say which side is nearer to what really happened.
export function showNearer() {
  if (!shownPair) return;
  const { sides } = shownPair, [first, second] = sides.map((side) => side.model.name), isClass = Boolean(sides[0].model.classes);
  const actual = isClass ? $("actual-class").value : $("actual").value;
  let text = "";
  if (actual !== "") {
    const k = Number(actual), number = toNumber(actual);
    const distances = sides.map(({ answer }) => (isClass ? 1 - answer.probabilities[k] : Math.abs(numberOf(answer.prediction) - number)));
    const off = (i) => (isClass ? `gives it the probability ${short(1 - distances[i])}` : `is off by ${short(distances[i])}`);
    if (!distances.every(Number.isFinite)) text = `${JSON.stringify(actual)} is not a number`;
    else if (distances[0] === distances[1]) text = `Both are equally near: each ${off(0)}.`;
    else text = distances[0] < distances[1] ? `${first} is nearer for this row: it ${off(0)}, ${second} ${off(1)}.` : `${second} is nearer for this row: it ${off(1)}, ${first} ${off(0)}.`;
  }
  $("nearer").textContent = text;
}
