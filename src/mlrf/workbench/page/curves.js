// Response curves: fetched by feature, drawn as small multiples, the largest effects first.
import { numberOf } from "./answer.js";
import { ask, ofModel } from "./api.js";
import { $, make } from "./dom.js";
import { addSlider } from "./form.js";
import { short } from "./numbers.js";
import { steps } from "./svg.js";

const AT_ONCE = 4, FIRST = 24;
let order = [], wanted = FIRST, curves = new Map(), run = 0;

export const currentCurves = () => curves;

// Forget the curves of another row, and fetch those of `names` in their order.
export async function showCurves(model, values, names, failed) {
  const mine = ++run, row = Object.fromEntries(values), found = new Map();
  order = names;
  const queue = names.slice(0, wanted);
  const work = async () => {
    while (queue.length && mine === run) {
      const name = queue.shift();
      const answer = await ask("POST", ofModel(model.name, "/curve"), { features: row, vary: name });
      if (mine !== run) return;
      Object.defineProperty(answer.axes[0], "x", { value: row[name] });
      found.set(name, answer);
      addSlider(name, answer.axes[0].cuts);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } catch (error) {
    if (mine === run) {
      curves = new Map();
      $("curves").replaceChildren();
      failed(error);
    }
    return;
  }
  if (mine !== run) return;
  curves = found;
  drawCurves();
}

export function drawCurves() {
  const span = (answer) => {
    const ys = answer.predictions.map(numberOf);
    return Math.max(...ys) - Math.min(...ys);
  };
  const sorted = [...curves].map(([name, answer]) => [name, answer, span(answer)]).sort((a, b) => b[2] - a[2]);
  $("curves").replaceChildren(...sorted.map(([name, answer, width]) => {
    const ys = answer.predictions.map(numberOf);
    const drawing = steps({ width: 240, height: 120, axis: answer.axes[0], ys, title: `Answer as ${name} changes` });
    return make("figure", { attributes: { "data-feature": name, "data-span": String(width) } }, make("figcaption", {}, make("strong", { textContent: name }),
      `: ${width ? `moves the answer by ${short(width)}` : "changes nothing for this row"}`), drawing);
  }));
  $("more-curves").hidden = order.length <= curves.size;
}

export function moreCurves() {
  wanted += FIRST;
}
