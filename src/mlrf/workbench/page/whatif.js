// What-if: the nearest change that reaches a goal, and two features together as a map.
import { classNames, numberOf } from "./answer.js";
import { ask, ofModel } from "./api.js";
import { currentCurves } from "./curves.js";
import { $, make, options } from "./dom.js";
import { nearestPoint, nearestValue, pointText } from "./nearest.js";
import { short, shown } from "./numbers.js";

const AT_LEAST = "at least", AT_MOST = "at most";

export function makeWhatIf(model) {
  const names = model.features.map((f) => [f.name, f.name]), labels = classNames(model);
  options($("heat-x"), names, names[0][0]);
  options($("heat-y"), names, (names[1] ?? names[0])[0]);
  options($("goal"), labels.length ? labels.map((text, i) => [String(i), `the class ${text}`]) : [[AT_LEAST, "at least"], [AT_MOST, "at most"]]);
  $("target-label").hidden = labels.length > 0;
  $("found").replaceChildren();
  $("heat").replaceChildren();
}

function goalOf(model) {
  const goal = $("goal").value;
  if (model.classes) {
    const label = model.classes[Number(goal)];
    return (_prediction, found) => found === label;
  }
  const target = Number($("target").value);
  if ($("target").value.trim() === "" || !Number.isFinite(target)) throw new Error("Give the number to reach");
  return (prediction) => (goal === AT_LEAST ? numberOf(prediction) >= target : numberOf(prediction) <= target);
}

const sayFound = (...nodes) => $("found").replaceChildren(...nodes);

// Find the nearest change and ask the server about the row it makes; `apply` puts it into the form.
export async function findNearest(model, values, answer, apply) {
  let reaches;
  try {
    reaches = goalOf(model);
  } catch (error) {
    sayFound(error.message);
    return;
  }
  if (reaches(answer.prediction, answer.label)) {
    sayFound("This row is there already.");
    return;
  }
  let candidates = [...currentCurves()];
  if ($("how-many").value === "2") {
    const both = [$("heat-x").value, $("heat-y").value];
    if (both[0] === both[1]) {
      sayFound("Choose two different features below.");
      return;
    }
    candidates = [[both.join(" and "), await ask("POST", ofModel(model.name, "/curve"), { features: Object.fromEntries(values), vary: both })]];
  }
  const found = [];
  for (const [, curve] of candidates) {
    const xs = curve.axes.map((axis) => values.get(axis.feature)), best = nearestPoint(curve, xs, reaches);
    if (best) found.push({ ...best, axes: curve.axes, xs });
  }
  found.sort((a, b) => a.cost - b.cost);
  if (!found.length) {
    sayFound(`No value of ${candidates.length === 1 ? candidates[0][0] : `any one of ${candidates.length} features`} reaches it.`);
    return;
  }
  const list = make("ol", {});
  for (const each of found.slice(0, 5)) {
    const changes = new Map(each.axes.map((axis, i) => [axis.feature, nearestValue(axis, each.points[i], each.xs[i])]));
    const text = each.axes.map((axis, i) => `${axis.feature}: ${shown(each.xs[i])} → ${pointText(axis, each.points[i], each.xs[i])}`).join(", ");
    const result = each.label === undefined ? short(numberOf(each.prediction)) : shown(each.label);
    const button = make("button", { type: "button", textContent: "Try it", attributes: { "aria-label": `Try ${text}` } });
    button.addEventListener("click", () => apply(changes));
    list.append(make("li", {}, `${text} gives ${result} `, button));
  }
  sayFound(list);
}

export async function drawHeat(model, values) {
  const vary = [$("heat-y").value, $("heat-x").value];
  if (vary[0] === vary[1]) {
    $("heat").replaceChildren("Choose two different features.");
    return;
  }
  const answer = await ask("POST", ofModel(model.name, "/curve"), { features: Object.fromEntries(values), vary });
  const [up, across] = answer.axes, ys = answer.predictions.map(numberOf);
  const rows = up.values.length, columns = across.values.length;
  const low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b));
  const canvas = make("canvas", { width: columns, height: rows, attributes: { role: "img", "aria-label": `Answers from ${low} to ${high} over ${across.feature} and ${up.feature}` } });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  ys.forEach((v, i) => {
    const row = rows - 1 - Math.floor(i / columns), at = 4 * (row * columns + (i % columns)), share = high > low ? (v - low) / (high - low) : 0.5;
    image.data.set([40 + 200 * share, 70 + 110 * (1 - Math.abs(2 * share - 1)), 220 - 180 * share, 255], at);
  });
  context.putImageData(image, 0, 0);
  const say = make("p", { attributes: { role: "status" } });
  const at = (row, column) => {
    say.textContent = `${across.feature} ${pointText(across, column, values.get(across.feature))}, ${up.feature} ${pointText(up, row, values.get(up.feature))}: ${short(ys[row * columns + column])}`;
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    at(rows - 1 - Math.min(rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * rows))), column);
  });
  at(up.at, across.at);
  $("heat").replaceChildren(make("p", {}, `Blue is ${short(low)}, orange is ${short(high)}. Each cell is one interval between thresholds, or one category; ${across.feature} goes across, ${up.feature} goes up.`), canvas, say);
}
