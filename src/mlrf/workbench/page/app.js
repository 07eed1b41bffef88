// The page: what is asked, the answer that it stands beside, and which part is drawn when.
import { drawWhy, ofOutput, output, classNames, saveWhy, showAnswer } from "./answer.js";
import { ask, latest, ofModel, useKey } from "./api.js";
import { drawCurves, moreCurves, showCurves } from "./curves.js";
import { $, make, options } from "./dom.js";
import { filterFields, makeForm, refuse, showValues } from "./form.js";
import { parseRow } from "./rows.js";
import { drawHeat, findNearest, makeWhatIf } from "./whatif.js";

const state = { models: [], model: null, values: new Map(), answer: null, reference: null };
const link = readFragment();

function readFragment() {
  try {
    return JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
  } catch {
    return {};
  }
}

function say(error) {
  const box = $("problem");
  let text = error.message;
  if (error.status === 401) text = `${error.message}. Enter a key above.`;
  if (error.status === 503) text = `The server is busy or not ready: ${error.message}`;
  const again = make("button", { type: "button", textContent: "Try again" });
  again.addEventListener("click", () => (state.models.length ? answerNow() : start()));
  box.replaceChildren(text, " ", ...(error.status === undefined || error.status === 422 ? [] : [again]));
  box.hidden = false;
  if (error.details?.feature !== undefined) refuse(error.details.feature, error.message);
}

const clear = () => ($("problem").hidden = true);

// Run work of an event; what goes wrong is said on the page.
const guarded = (work) => async (event) => {
  event?.preventDefault?.();
  try {
    await work(event);
  } catch (error) {
    say(error);
  }
};

const answerNow = latest(guarded(async () => {
  const { model, values } = state, row = new Map(values), body = { features: Object.fromEntries(row) };
  let answer;
  try {
    answer = await ask("POST", ofModel(model.name, "/explain"), body);
  } catch (error) {
    // A key without the scope `explain`, or a model that cannot be explained, still predicts.
    if (error.code !== "NOT_EXPLAINABLE" && error.status !== 403) throw error;
    answer = await ask("POST", ofModel(model.name, "/predict"), body);
  }
  if (model !== state.model) return;
  clear();
  state.answer = answer;
  state.answered = row;
  state.reference ??= { values: row, answer };
  $("version").textContent = `version ${answer.version}`;
  showAnswer(model, row, answer, state.reference);
  void curvesSoon();
}));

const curvesSoon = latest(async () => {
  const { model, answer, answered } = state;
  if (!answer) return;
  const names = model.features.map((f) => f.name);
  if (answer.explanation) {
    const { contributions } = ofOutput(answer.explanation, classNames(model), output());
    names.sort((a, b) => Math.abs(contributions[b]) - Math.abs(contributions[a]));
  }
  await showCurves(model, answered, names, (error) => {
    if (error.code === "NO_THRESHOLDS") $("curves").replaceChildren("This model has no thresholds, so there are no exact curves of it.");
    else say(error);
  });
});

function changed(name, value) {
  state.values.set(name, value);
  void answerNow();
}

function fill(values) {
  for (const [name, value] of values) state.values.set(name, value);
  showValues(state.values);
  return answerNow();
}

function choose(name, values) {
  const model = state.models.find((each) => each.name === name) ?? state.models[0];
  const row = values ?? model.example;
  Object.assign(state, { model, values: new Map(model.features.map((f) => [f.name, row[f.name] ?? null])), reference: null, answer: null });
  $("class").replaceChildren();
  makeForm(model.features, state.values, changed);
  makeWhatIf(model);
  makeKeyFields(model);
  return answerNow();
}

function makeKeyFields(model) {
  $("by-key").hidden = !model.key;
  const types = { integer: "number", date: "date" };
  $("key-fields").replaceChildren(
    ...Object.entries(model.key ?? {}).map(([name, type]) => make("p", {}, make("label", {}, `${name} (${type}) `,
      make("input", { name, type: type === "boolean" ? "checkbox" : types[type] ?? "text", attributes: { "data-type": type } })))),
    make("button", { textContent: "Look up" }));
}

function keyOfForm() {
  return Object.fromEntries([...$("key-fields").querySelectorAll("input")].map((input) => {
    const type = input.dataset.type;
    return [input.name, type === "boolean" ? input.checked : type === "integer" ? Number(input.value) : input.value];
  }));
}

async function lookUp(key) {
  const answer = await ask("POST", ofModel(state.model.name, "/predict"), { key, return_features: true });
  state.reference = null;
  await fill(new Map(Object.entries(answer.features)));
}

async function start() {
  clear();
  const document_ = await ask("GET", "/models");
  state.models = document_.models;
  options($("model"), state.models.map((m) => [m.name, m.name]), link.model ?? document_.default);
  await choose($("model").value || document_.default, link.features);
  if (link.key && state.model.key) await lookUp(link.key);
}

$("model").addEventListener("change", guarded(() => choose($("model").value)));
$("key-form").addEventListener("submit", guarded(() => {
  useKey($("key").value.trim());
  return state.models.length ? answerNow() : start();
}));
$("key-fields").addEventListener("submit", guarded(() => lookUp(keyOfForm())));
$("paste-form").addEventListener("submit", guarded(() => {
  clear();
  return fill(parseRow(state.model.features, $("paste").value));
}));
$("row").addEventListener("submit", (event) => event.preventDefault());
$("find").addEventListener("input", () => filterFields($("find").value));
$("copy-link").addEventListener("click", guarded(async () => {
  const fragment = encodeURIComponent(JSON.stringify({ model: state.model.name, features: Object.fromEntries(state.values) }));
  const address = `${location.origin}${location.pathname}#${fragment}`;
  try {
    await navigator.clipboard.writeText(address);
    $("copied").textContent = "Copied.";
  } catch {
    $("copied").replaceChildren(make("a", { href: address, textContent: "This link opens this row" }));
  }
}));
$("top").addEventListener("input", drawWhy);
$("class").addEventListener("change", () => {
  showAnswer(state.model, state.answered, state.answer, state.reference);
  drawCurves();
});
$("numbers").addEventListener("toggle", drawWhy);
$("save-svg").addEventListener("click", guarded(() => saveWhy(false)));
$("save-png").addEventListener("click", guarded(() => saveWhy(true)));
$("begin-here").addEventListener("click", guarded(() => {
  state.reference = { values: new Map(state.answered), answer: state.answer };
  showAnswer(state.model, state.answered, state.answer, state.reference);
}));
$("go-back").addEventListener("click", guarded(() => fill(state.reference.values)));
$("more-curves").addEventListener("click", guarded(() => {
  moreCurves();
  return curvesSoon();
}));
$("nearest").addEventListener("submit", guarded(() => findNearest(state.model, state.answered, state.answer, (changes) => fill(changes))));
$("heat-form").addEventListener("submit", guarded(() => drawHeat(state.model, state.answered)));
addEventListener("resize", drawWhy);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawWhy();
  drawCurves();
});
void guarded(start)();
