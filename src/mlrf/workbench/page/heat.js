// Two features together: a map with one cell for each pair of points, whose values a pointer or the arrow keys read.
import { numberOf } from "./answer.js";
import { askCurve, superseding } from "./api.js";
import { $, make } from "./dom.js";
import { pointText } from "./nearest.js";
import { short } from "./numbers.js";

const next = superseding();
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };

// Ask for the grid of the two chosen features and draw it; a grid that is still awaited is given up.
export async function drawHeat(model, values) {
  const vary = [$("heat-y").value, $("heat-x").value];
  if (vary[0] === vary[1]) {
    $("heat").replaceChildren("Choose two different features.");
    return;
  }
  const signal = next();
  $("heat").replaceChildren("Computing…");
  try {
    draw(await askCurve(model, values, vary, signal), values);
  } catch (error) {
    if (!signal.aborted) $("heat").replaceChildren();
    throw error;
  }
}

export function clearHeat() {
  next();
  $("heat").replaceChildren();
}

function draw(answer, values) {
  const [up, across] = answer.axes, ys = answer.predictions.map(numberOf);
  const rows = up.values.length, columns = across.values.length;
  const low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b));
  const label = `Answers from ${short(low)} to ${short(high)} over ${across.feature} and ${up.feature}; arrow keys read its cells`;
  const canvas = make("canvas", { width: columns, height: rows, tabIndex: 0, attributes: { role: "application", "aria-label": label } });
  paint(canvas, ys, low, high);
  const say = make("p", { attributes: { role: "status" } });
  let [row, column] = [up.at, across.at];
  const read = () => {
    const position = [[across, column], [up, row]].map(([axis, point]) => `${axis.feature} ${pointText(axis, point, values.get(axis.feature))}`);
    say.textContent = `${position.join(", ")}: ${short(ys[row * columns + column])}`;
  };
  const share = (at, from, size, n) => Math.min(n - 1, Math.max(0, Math.floor(((at - from) / size) * n)));
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    column = share(event.clientX, box.left, box.width, columns);
    row = rows - 1 - share(event.clientY, box.top, box.height, rows);
    read();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    row = Math.min(rows - 1, Math.max(0, row + move[0]));
    column = Math.min(columns - 1, Math.max(0, column + move[1]));
    read();
  });
  read();
  const key = `Blue is ${short(low)}, orange is ${short(high)}. Each cell is one interval between thresholds, or one category; `
    + `${across.feature} goes across, ${up.feature} goes up.`;
  $("heat").replaceChildren(make("p", { textContent: key }), canvas, say);
}

function paint(canvas, ys, low, high) {
  const { width, height } = canvas, context = canvas.getContext("2d"), image = context.createImageData(width, height);
  ys.forEach((v, i) => {
    const row = height - 1 - Math.floor(i / width), at = 4 * (row * width + (i % width));
    const share = high > low ? (v - low) / (high - low) : 0.5;
    image.data.set([40 + 200 * share, 70 + 110 * (1 - Math.abs(2 * share - 1)), 220 - 180 * share, 255], at);
  });
  context.putImageData(image, 0, 0);
}
