// Response curves: fetched by feature, drawn as small multiples, the largest effects first.
import { nameOfNumber, numberOf } from "./answer.js";
import { askCurve } from "./api.js";
import { $, make } from "./dom.js";
import { addSlider } from "./form.js";
import { ANYWHERE, nearestPoint, pointText } from "./nearest.js";
import { short, shown } from "./numbers.js";
import { eachOf } from "./search.js";
import { steps } from "./steps.js";
import { colour } from "./svg.js";

const FIRST = 24;
let order = [], most = FIRST, curves = new Map(), label;

// Fetch the curves of one feature each of a row; `isCurrent()` is called between requests and ends them.
export async function fetchCurves(model, values, names, isCurrent = () => true) {
  const found = await eachOf(names, async (name) => {
    if (!isCurrent()) return null;
    const answer = await askCurve(model, values, name);
    answer.axes[0].x = values.get(name);
    return [name, answer];
  });
  return isCurrent() ? new Map(found) : null;
}

// Draw the curves of a row; `names` are in the order in which they are fetched, `ownLabel` is the row's own class.
export async function showCurves(model, values, names, ownLabel, isCurrent) {
  order = names;
  const found = await fetchCurves(model, values, names.slice(0, most), isCurrent);
  if (!found) return;
  for (const [name, answer] of found) addSlider(name, answer.axes[0].cuts);
  [curves, label] = [found, ownLabel];
  drawCurves();
}

export function clearCurves(text) {
  curves = new Map();
  $("curves").replaceChildren(text);
  $("more-curves").hidden = true;
}

export function drawCurves() {
  const drawn = [...curves].map(([name, answer]) => {
    const ys = answer.predictions.map(numberOf);
    return { name, answer, ys, span: ys.reduce((a, b) => Math.max(a, b)) - ys.reduce((a, b) => Math.min(a, b)) };
  });
  $("curves").replaceChildren(...drawn.sort((a, b) => b.span - a.span).map(figure));
  $("curves-what").textContent = drawn.length ? nameOfNumber() : "the answer";
  $("more-curves").hidden = order.length <= curves.size;
}

function figure({ name, answer, ys, span }) {
  const axis = answer.axes[0], series = [{ ys, stroke: colour("--accent") }];
  const drawing = steps({ width: 240, height: 120, axis, series, title: `Answer as ${name} changes` });
  const text = span ? `moves the answer by ${short(span)}` : "changes nothing for this row";
  const caption = make("figcaption", {}, make("strong", { textContent: name }), `: ${text}${flipText(answer)}`);
  return make("figure", { attributes: { "data-feature": name, "data-span": String(span) } }, caption, drawing);
}

// Where the nearest other class of a classifier begins.
function flipText(answer) {
  if (!answer.labels) return "";
  const axis = answer.axes[0], best = nearestPoint(answer, [axis.x], (_prediction, found) => found !== label);
  if (!best) return `; stays ${shown(label)}`;
  const text = pointText(axis, best.points[0], axis.x, ANYWHERE, short);
  return `; becomes ${shown(best.label)} ${text.startsWith("just above") ? text : `at ${text}`}`;
}

export function moreCurves() {
  most += FIRST;
}
