// The views of the page, one shown at a time; the buttons at the top choose.
import { $ } from "./dom.js";

const SECTIONS = { row: ["ask", "answer", "what-if"], compare: ["ask", "compare"], many: ["many"], live: ["live"] };
const opened = new Map();
let current = "row";

export const currentView = () => current;

// Call `work` whenever the view is opened.
export const onOpen = (view, work) => opened.set(view, work);

export function openView(view) {
  current = view;
  document.documentElement.dataset.view = view;
  for (const id of new Set(Object.values(SECTIONS).flat())) $(id).hidden = !SECTIONS[view].includes(id);
  for (const button of $("views").querySelectorAll("button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  opened.get(view)?.();
}

export function startViews() {
  for (const button of $("views").querySelectorAll("button")) button.addEventListener("click", () => openView(button.dataset.view));
}
