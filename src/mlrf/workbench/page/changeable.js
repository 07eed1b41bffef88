// Which features may change in a search, and between which bounds: all of them, until a person says otherwise.
import { $, make } from "./dom.js";
import { toNumber } from "./numbers.js";

let declared = new Map(), model = null;

export function makeChangeable(of) {
  model = of;
  declared = new Map(model.features.map((feature) => [feature.name, { feature, may: true, low: "", high: "" }]));
  $("changeable-rows").replaceChildren();
  $("changeable").open = false;
  count();
}

function count() {
  const n = [...declared.values()].filter((each) => each.may).length;
  $("changeable-count").textContent = n === declared.size ? `all ${n}` : `${n} of ${declared.size}`;
}

function draw() {
  const rows = [...declared.values()].map((entry) => {
    const { feature } = entry, isNumber = !feature.categories && feature.kind !== "boolean";
    const may = make("input", { type: "checkbox", checked: entry.may });
    may.addEventListener("change", () => {
      entry.may = may.checked;
      count();
    });
    const bound = (end, label) => {
      const input = make("input", { type: "text", size: 7, value: entry[end], attributes: { inputmode: "decimal", "aria-label": `${feature.name}, ${label}` } });
      input.addEventListener("input", () => (entry[end] = input.value));
      return make("td", {}, input);
    };
    return make("tr", {}, make("th", { scope: "row" }, make("label", {}, may, ` ${feature.name}`)),
      ...(isNumber ? [bound("low", "not below"), bound("high", "not above")] : [make("td"), make("td")]));
  });
  $("changeable-rows").replaceChildren(...rows);
}

export function startChangeable() {
  $("changeable").addEventListener("toggle", () => {
    if ($("changeable").open && !$("changeable-rows").rows.length) draw();
  });
  for (const [id, may] of [["change-all", true], ["change-none", false]]) {
    $(id).addEventListener("click", () => {
      for (const entry of declared.values()) entry.may = may;
      draw();
      count();
    });
  }
}

// The bounds of each feature that may change, by name. Throws an Error that says which bound is not a number.
export function boundsOfChange() {
  const missing = $("may-be-missing").checked, found = new Map();
  for (const [name, { may, low, high }] of declared) {
    if (may) found.set(name, { low: bound(name, low, -Infinity), high: bound(name, high, Infinity), missing });
  }
  return found;
}

function bound(name, text, otherwise) {
  if (text.trim() === "") return otherwise;
  const number = toNumber(text);
  if (!Number.isFinite(number)) throw new Error(`The bound ${JSON.stringify(text)} of ${name} is not a number`);
  return number;
}
