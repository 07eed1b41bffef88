// The fields of a key, typed as the model's rows are keyed.
import { $, make } from "./dom.js";

const INPUTS = { integer: { type: "text", inputMode: "numeric", pattern: "-?(0|[1-9][0-9]*)", required: true }, date: { type: "date", required: true }, boolean: { type: "checkbox" } };

export function makeKeyFields(model) {
  $("by-key").hidden = !model.key;
  $("key-fields").replaceChildren(
    ...Object.entries(model.key ?? {}).map(([name, type]) => make("p", {}, make("label", {}, `${name} (${type}) `,
      make("input", { name, ...(INPUTS[type] ?? { type: "text" }), attributes: { "data-type": type } })))),
    make("button", { textContent: "Look up" }));
}

// The key as JSON; an integer of any size with all its digits.
export function keyText() {
  const members = [...$("key-fields").querySelectorAll("input")].map((input) => {
    const { type } = input.dataset;
    const value = type === "boolean" ? String(input.checked) : type === "integer" ? input.value.trim() : JSON.stringify(input.value);
    return `${JSON.stringify(input.name)}:${value}`;
  });
  return `{${members.join(",")}}`;
}
