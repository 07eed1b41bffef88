// Recent rows: those that a person rested on, kept in the memory of this page only.
import { $, make } from "./dom.js";
import { shown } from "./numbers.js";

const MOST = 20, RESTED_MS = 1500;
let rows = [], timer = null;

// Note a row when nothing has changed for a while; `open(entry)` opens one again.
export function noteRow(entry, open) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const text = textOf(entry);
    rows = [{ ...entry, text }, ...rows.filter((each) => each.text !== text)].slice(0, MOST);
    draw(open);
  }, RESTED_MS);
}

function textOf({ model, values, prediction }) {
  const named = [...values].map(([name, value]) => `${name} ${shown(value)}`).join(", ");
  return `${model.name} ${prediction}: ${named}`;
}

function draw(open) {
  $("recent").hidden = rows.length === 0;
  $("recent-rows").replaceChildren(...rows.map((entry) => {
    const button = make("button", { type: "button", textContent: entry.text.length > 160 ? `${entry.text.slice(0, 159)}…` : entry.text });
    button.addEventListener("click", () => open(entry));
    return make("li", {}, button);
  }));
}
