// The form of a row: one field for each feature, made from the schema.
import { $, make } from "./dom.js";
import { full, toNumber } from "./numbers.js";
import { categoryText, parseValue } from "./rows.js";

let fields = new Map();

function asText(feature, value) {
  if (value === null || value === undefined) return "";
  return feature.categories ? categoryText(value) : full(value);
}

// Make the fields; `changed(name, value)` is called with each valid value that a person enters.
export function makeForm(features, values, changed) {
  fields = new Map();
  $("fields").replaceChildren(...features.map((feature, i) => makeField(feature, i, values.get(feature.name), changed)));
}

function makeField(feature, i, value, changed) {
  const id = `f${i}`, isBoolean = feature.kind === "boolean";
  const label = make("label", { htmlFor: id, textContent: feature.name });
  const input = make("input", isBoolean
    ? { id, type: "checkbox", attributes: { role: "switch" } }
    : { id, type: "text", autocomplete: "off", spellcheck: false, attributes: feature.categories ? {} : { inputmode: "decimal" } });
  const wrong = make("p", { id: `${id}-wrong`, className: "wrong", hidden: true });
  input.setAttribute("aria-describedby", wrong.id);
  const options = make("div", { className: "options" }, input);
  const field = make("div", { className: "field" }, label, options, wrong);
  const entry = { feature, field, input, wrong, slider: null, missing: null, changed };
  fields.set(feature.name, entry);
  if (feature.categories) {
    const list = make("datalist", { id: `${id}-list` }, ...feature.categories.map((c) => make("option", { value: categoryText(c) })));
    input.setAttribute("list", list.id);
    field.append(list);
  }
  if (feature.nullable) {
    entry.missing = make("input", { type: "checkbox", attributes: { "aria-label": `${feature.name} is missing` } });
    options.append(make("label", { className: "missing" }, entry.missing, " missing"));
    entry.missing.addEventListener("change", () => (entry.missing.checked ? accept(entry, null) : read(entry)));
  }
  input.addEventListener(feature.categories || isBoolean ? "change" : "input", () => read(entry));
  show(entry, value);
  return field;
}

function read(entry) {
  const { feature, input } = entry;
  let value;
  try {
    value = feature.kind === "boolean" ? input.checked : parseValue(feature, input.value);
  } catch (error) {
    refuse(feature.name, error.message);
    return;
  }
  accept(entry, value);
}

function accept(entry, value) {
  show(entry, value, true);
  entry.changed(entry.feature.name, value);
}

function show(entry, value, isTyped = false) {
  const { feature, input, missing, slider, wrong } = entry, isMissing = value === null || value === undefined;
  if (feature.kind === "boolean") input.checked = value === true;
  else if (!isTyped || isMissing) input.value = asText(feature, value);
  if (missing) missing.checked = isMissing;
  if (slider && typeof value === "number") slider.value = value;
  input.removeAttribute("aria-invalid");
  wrong.hidden = true;
}

export function showValues(values) {
  for (const [name, entry] of fields) show(entry, values.get(name));
}

// Say what is wrong with the value of a feature, at its field.
export function refuse(name, message) {
  const entry = fields.get(name);
  if (!entry) return false;
  entry.input.setAttribute("aria-invalid", "true");
  entry.wrong.textContent = message;
  entry.wrong.hidden = false;
  return true;
}

// Give a number's field a slider over the thresholds of the model, beyond which nothing changes.
export function addSlider(name, cuts) {
  const entry = fields.get(name);
  if (!entry || entry.slider || !cuts || !cuts.length) return;
  const whole = entry.feature.kind !== "numeric", span = cuts.at(-1) - cuts[0];
  if (!Number.isFinite(span)) return;
  const beyond = Math.max(span * 0.05, whole ? 1 : Math.abs(cuts[0]) * 0.05 || 0.5);
  const min = whole ? Math.floor(cuts[0] - beyond) : cuts[0] - beyond, max = whole ? Math.ceil(cuts.at(-1) + beyond) : cuts.at(-1) + beyond;
  entry.slider = make("input", { type: "range", min, max, step: whole ? 1 : "any", attributes: { "aria-label": `${name}, slider` } });
  entry.slider.value = entry.input.value === "" ? (min + max) / 2 : toNumber(entry.input.value);
  entry.slider.addEventListener("input", () => {
    const number = Number(entry.slider.value);
    entry.input.value = full(whole ? number : Number(number.toPrecision(6)));
    read(entry);
  });
  entry.field.append(entry.slider);
}

export function filterFields(text) {
  const part = text.toLowerCase();
  for (const [name, entry] of fields) entry.field.hidden = !name.toLowerCase().includes(part);
}
