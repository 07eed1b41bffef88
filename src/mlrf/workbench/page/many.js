// Many rows: a file dropped or chosen, its rows sent in batches, and drawings of all of them.
import { classNames, ofOutput } from "./answer.js";
import { superseding } from "./api.js";
import { askRows } from "./batches.js";
import { bar, beeswarm, histogram, scatter } from "./charts.js";
import { $, make, options } from "./dom.js";
import { short, shown, wholeText } from "./numbers.js";
import { MOST_BYTES, readTable } from "./table-file.js";

const MOST_VALUES = 4_000_000, MOST_SWARM = 10, MOST_BARS = 30, PAGE = 50, MOST_REFUSED = 20;
const next = superseding();
let found = null, page = 0, openRow = () => {};

// Ask the model about the rows of a file; `open(values)` opens one of them.
export async function askFile(model, file, open) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than ${MOST_BYTES >> 20} MiB; \`mlrf score\` takes files of any size`);
  const signal = next(), table = readTable(model.features, await file.text());
  const most = Math.floor(MOST_VALUES / (model.features.length * Math.max(1, model.classes?.length ?? 1)));
  const rows = table.rows.slice(0, most);
  openRow = open;
  $("many-results").hidden = true;
  $("many-progress").max = Math.max(1, rows.length);
  $("many-progress").value = 0;
  $("many-running").hidden = false;
  try {
    const result = await askRows(model, rows, signal, (done) => {
      $("many-progress").value = done;
      $("many-done").textContent = `${done} of ${rows.length} rows`;
    });
    found = { model, ...result, refused: [...table.refused, ...result.refused].sort((a, b) => a.number - b.number) };
  } finally {
    if (!signal.aborted) $("many-running").hidden = true;
  }
  sayTable(file.name, table, rows.length);
  fillClasses(model);
  drawMany();
}

export function cancelFile() {
  next();
  $("many-running").hidden = true;
  $("many-said").replaceChildren("Cancelled.");
}

export function clearMany() {
  next();
  found = null;
  $("many-running").hidden = $("many-results").hidden = true;
  $("many-said").replaceChildren();
}

function sayTable(name, { rows, ignored, absent }, sent) {
  const parts = [`${name}: ${found.answered.length} rows answered.`];
  if (sent < rows.length) parts.push(`Only the first ${sent} of ${rows.length} rows were sent; \`mlrf score\` takes all.`);
  if (ignored.length) parts.push(`Not features of this model, so left out: ${ignored.slice(0, 10).join(", ")}${ignored.length > 10 ? ", …" : ""}.`);
  if (absent.length) parts.push(`Not in the file, so missing: ${absent.slice(0, 10).join(", ")}${absent.length > 10 ? ", …" : ""}.`);
  const list = found.refused.slice(0, MOST_REFUSED).map(({ number, reason }) => make("li", { textContent: `Row ${number}: ${reason}` }));
  const refused = list.length ? [make("p", { textContent: `${found.refused.length === 1 ? "1 row was" : `${found.refused.length} rows were`} refused:` }), make("ul", {}, ...list)] : [];
  $("many-said").replaceChildren(make("p", { textContent: parts.join(" ") }), ...refused);
}

function fillClasses(model) {
  const names = classNames(model), isMany = Array.isArray(found.answered[0]?.prediction);
  $("many-class-label").hidden = !isMany;
  if (isMany) options($("many-class"), found.answered[0].prediction.map((_, i) => [String(i), names[i] ?? `output ${i}`]), "0");
}

const output = () => ($("many-class-label").hidden ? 0 : Number($("many-class").value));
const numberOf = (prediction) => (Array.isArray(prediction) ? prediction[output()] : prediction);

// Draw everything about the answers, again for another class or width.
export function drawMany() {
  if (!found?.answered.length) return;
  $("many-results").hidden = false;
  const { answered, model } = found, numbers = answered.map((each) => numberOf(each.prediction)), width = widthOf();
  const sorted = [...numbers].sort((a, b) => a - b), median = sorted[Math.floor((sorted.length - 1) / 2)];
  const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length;
  $("many-summary").textContent = `Predictions from ${short(sorted[0])} to ${short(sorted.at(-1))}; median ${short(median)}, mean ${short(mean)}.`;
  $("many-histogram").replaceChildren(histogram({ width, height: 180, values: numbers, title: "Distribution of predictions" }));
  const isExplained = answered.every((each) => each.explanation);
  $("many-why").hidden = !isExplained;
  if (isExplained) drawWhy(model, answered, width);
  page = 0;
  drawRows();
}

const widthOf = () => Math.max(300, Math.min(820, $("many-histogram").clientWidth || 700));

function drawWhy(model, answered, width) {
  const names = classNames(model), k = output();
  const contributions = answered.map((each) => ofOutput(each.explanation, names, k).contributions);
  const mean = (name) => contributions.reduce((sum, each) => sum + Math.abs(each[name]), 0) / contributions.length;
  const order = model.features.map((f) => [f.name, mean(f.name)]).sort((a, b) => b[1] - a[1]);
  found.lines = new Map(order.map(([name]) => [name, {
    name, values: answered.map((each) => each.row.values.get(name) ?? null), contributions: contributions.map((each) => each[name]),
  }]));
  const most = order[0][1] || 1;
  $("many-importance").replaceChildren(...order.slice(0, MOST_BARS).map(([name, size]) => make("tr", { attributes: { "data-mean": String(size) } },
    make("th", { scope: "row", textContent: name }), make("td", { textContent: short(size) }), make("td", {}, bar(size / most)))));
  const lines = order.slice(0, MOST_SWARM).map(([name]) => found.lines.get(name));
  $("many-beeswarm").replaceChildren(beeswarm({ width, lines, title: "Contributions of each row" }));
  options($("many-feature"), order.map(([name]) => [name, name]), order[0][0]);
  drawScatter();
}

export function drawScatter() {
  const line = found?.lines?.get($("many-feature").value);
  if (!line) return;
  const { drawing, points } = scatter({ width: widthOf(), height: 240, ...line, title: `Contribution of ${line.name} by its value` });
  drawing.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect(), ratio = drawing.viewBox.baseVal.width / box.width;
    const at = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const far = points.map(([x, y]) => (x - at[0]) ** 2 + (y - at[1]) ** 2), nearest = far.indexOf(Math.min(...far));
    if (far[nearest] < 400) openRow(found.answered[nearest].row.values);
  });
  $("many-scatter").replaceChildren(drawing);
}

// The table of rows: in the file's order, or by prediction.
export function drawRows(move = 0) {
  const order = [...found.answered], by = $("many-order").value;
  if (by !== "file") order.sort((a, b) => (by === "largest" ? -1 : 1) * (numberOf(a.prediction) - numberOf(b.prediction)));
  const pages = Math.ceil(order.length / PAGE), columns = (found.lines ? [...found.lines.keys()] : found.model.features.map((f) => f.name)).slice(0, 4);
  page = Math.min(pages - 1, Math.max(0, page + move));
  $("many-page").textContent = `Page ${page + 1} of ${pages}`;
  $("many-previous").disabled = page === 0;
  $("many-next").disabled = page === pages - 1;
  $("many-columns").replaceChildren(...["Row", "Prediction", ...columns, ""].map((text) => make(text ? "th" : "td", text ? { scope: "col", textContent: text } : {})));
  $("many-rows").replaceChildren(...order.slice(page * PAGE, (page + 1) * PAGE).map((each) => {
    const open = make("button", { type: "button", textContent: "Open", attributes: { "aria-label": `Open row ${each.row.number}` } });
    open.addEventListener("click", () => openRow(each.row.values));
    const answer = each.label === undefined ? wholeText(numberOf(each.prediction)) : `${shown(each.label)} (${short(numberOf(each.prediction))})`;
    return make("tr", {}, make("th", { scope: "row", textContent: String(each.row.number) }), make("td", { textContent: answer }),
      ...columns.map((name) => make("td", { textContent: wholeText(each.row.values.get(name)) })), make("td", {}, open));
  }));
}
