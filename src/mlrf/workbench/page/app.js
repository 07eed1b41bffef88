// The page: the row, its answer, and which part is drawn when.
import { classNames, copyTable, drawWhy, ofOutput, output, predictionText, saveWhy, showAnswer } from "./answer.js";
import { ask, askWhy, latest, ofModel, pause, SUPERSEDED, useKey } from "./api.js";
import { startChangeable } from "./changeable.js";
import { chooseClass, chooseOther, compareRow, drawCompared, showNearer } from "./compare.js";
import { clearCurves, drawCurves, moreCurves, showCurves } from "./curves.js";
import { $, guardedBy, make, options } from "./dom.js";
import { filterFields, makeForm, refuse, showValues } from "./form.js";
import { drawHeat } from "./heat.js";
import { keyText, makeKeyFields } from "./keys.js";
import { readLive, startLive } from "./live.js";
import { askFile, cancelFile, clearMany, drawMany, drawRows, drawScatter } from "./many.js";
import { noteRow } from "./recent.js";
import { parseRow } from "./rows.js";
import { currentView, onOpen, openView, startViews } from "./views.js";
import { findNearest, makeWhatIf, suggestGoal } from "./whatif.js";

// A slider that moves is answered at once; curves follow when it rests.
const CURVES_AFTER_MS = 120;
const state = { models: [], model: null, values: new Map(), answer: null, answered: null, reference: null };
const link = readFragment();

function readFragment() {
  try {
    return JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
  } catch {
    return {};
  }
}

function say(error) {
  if (error.code === SUPERSEDED) return;
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
const guarded = guardedBy(say);

const answerNow = latest(guarded(async () => {
  const { model, values } = state, row = new Map(values), answer = await askWhy(model, row);
  if (model !== state.model) return;
  clear();
  Object.assign(state, { answer, answered: row });
  state.reference ??= { values: row, answer };
  $("version").textContent = `version ${answer.version}`;
  showAnswer(model, row, answer, state.reference);
  suggestGoal(model, answer);
  noteRow({ model, values: row, prediction: predictionText(model, answer) }, (entry) => choose(entry.model.name, Object.fromEntries(entry.values)));
  if (currentView() === "compare") void compareNow();
  else void curvesNow();
}));

const compareNow = guarded(() => compareRow(state));

const curvesNow = latest(guarded(async () => {
  await pause(CURVES_AFTER_MS);
  const { model, answer, answered } = state, isCurrent = () => answer === state.answer && currentView() === "row";
  if (!answer || !isCurrent()) return;
  const names = model.features.map((f) => f.name);
  if (answer.explanation) {
    const { contributions } = ofOutput(answer.explanation, classNames(model), output());
    names.sort((a, b) => Math.abs(contributions[b]) - Math.abs(contributions[a]));
  }
  try {
    await showCurves(model, answered, names, answer.label, isCurrent);
  } catch (error) {
    clearCurves(error.code === "NO_THRESHOLDS" ? "This model has no thresholds, so there are no exact curves of it." : "");
    if (error.code !== "NO_THRESHOLDS") throw error;
  }
}));

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
  const model = state.models.find((each) => each.name === name) ?? state.models[0], row = values ?? model.example;
  const isOther = model !== state.model;
  Object.assign(state, { model, values: new Map(model.features.map((f) => [f.name, row[f.name] ?? null])), reference: null, answer: null });
  $("model").value = model.name;
  if (isOther) {
    $("class").replaceChildren();
    makeForm(model.features, state.values, changed);
    makeWhatIf(model);
    makeKeyFields(model);
    clearMany();
  } else showValues(state.values);
  return answerNow();
}

async function lookUp(key) {
  const answer = await ask("POST", ofModel(state.model.name, "/predict"), `{"key":${key},"return_features":true}`);
  state.reference = null;
  await fill(new Map(Object.entries(answer.features)));
}

async function start() {
  clear();
  const served = await ask("GET", "/models");
  state.models = served.models;
  options($("model"), state.models.map((m) => [m.name, m.name]), link.model ?? served.default);
  await choose($("model").value || served.default, link.features);
  if (link.key && state.model.key) await lookUp(JSON.stringify(link.key));
}

async function copyLink() {
  const fragment = encodeURIComponent(JSON.stringify({ model: state.model.name, features: Object.fromEntries(state.values) }));
  const address = `${location.origin}${location.pathname}#${fragment}`;
  try {
    await navigator.clipboard.writeText(address);
    $("copied").textContent = "Copied.";
  } catch {
    $("copied").replaceChildren(make("a", { href: address, textContent: "This link opens this row" }));
  }
}

const askFiles = guarded(async (files) => {
  clear();
  if (!files.length) return;
  await askFile(state.model, files[0], (values) => {
    openView("row");
    $("answer").scrollIntoView();
    $("answer").focus();
    return choose(state.model.name, Object.fromEntries(values));
  });
});

const on = (id, event, work) => $(id).addEventListener(event, guarded(work));

function startRow() {
  on("model", "change", () => choose($("model").value));
  on("key-form", "submit", () => {
    useKey($("key").value.trim());
    if (currentView() === "live") void readLive();
    return state.models.length ? answerNow() : start();
  });
  on("key-fields", "submit", () => lookUp(keyText()));
  on("paste-form", "submit", () => {
    clear();
    return fill(parseRow(state.model.features, $("paste").value));
  });
  on("row", "submit", () => {});
  $("find").addEventListener("input", () => filterFields($("find").value));
  on("copy-link", "click", copyLink);
  $("top").addEventListener("input", drawWhy);
  on("class", "change", () => {
    showAnswer(state.model, state.answered, state.answer, state.reference);
    drawCurves();
  });
  $("numbers").addEventListener("toggle", drawWhy);
  on("copy-table", "click", copyTable);
  on("save-svg", "click", () => saveWhy(false));
  on("save-png", "click", () => saveWhy(true));
  on("begin-here", "click", () => {
    state.reference = { values: new Map(state.answered), answer: state.answer };
    showAnswer(state.model, state.answered, state.answer, state.reference);
  });
  on("go-back", "click", () => fill(state.reference.values));
  on("more-curves", "click", () => {
    moreCurves();
    return curvesNow();
  });
  on("nearest", "submit", () => findNearest(state.model, state.answered, state.answer, fill));
  on("heat-form", "submit", () => drawHeat(state.model, state.answered));
}

function startOthers() {
  onOpen("row", () => {
    if (!state.answer) return;
    showAnswer(state.model, state.answered, state.answer, state.reference);
    void curvesNow();
  });
  onOpen("compare", () => state.answer && compareNow());
  onOpen("live", readLive);
  on("other", "change", chooseOther);
  on("compare-class", "change", chooseClass);
  $("actual").addEventListener("input", showNearer);
  $("actual-class").addEventListener("change", showNearer);
  $("many-file").addEventListener("change", () => askFiles([...$("many-file").files]));
  $("many-drop").addEventListener("dragover", (event) => event.preventDefault());
  $("many-drop").addEventListener("drop", (event) => {
    event.preventDefault();
    void askFiles([...event.dataTransfer.files]);
  });
  on("many-cancel", "click", cancelFile);
  $("many-class").addEventListener("change", drawMany);
  $("many-feature").addEventListener("change", drawScatter);
  $("many-order").addEventListener("change", () => drawRows());
  $("many-previous").addEventListener("click", () => drawRows(-1));
  $("many-next").addEventListener("click", () => drawRows(1));
  startChangeable();
  startLive();
  startViews();
}

function redraw() {
  if (currentView() === "row") {
    drawWhy();
    drawCurves();
  } else if (currentView() === "compare") drawCompared();
  else if (currentView() === "many") drawMany();
}

startRow();
startOthers();
openView("row");
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
void guarded(start)();
