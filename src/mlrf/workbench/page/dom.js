// Elements by id, and new ones; text from the server enters the page as text, never as markup.
export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function tableRow(...cells) {
  return make("tr", {}, make("th", { scope: "row", textContent: cells[0] }), ...cells.slice(1).map((text) => make("td", { textContent: text })));
}

export function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value, textContent: text })));
  if (chosen !== undefined) select.value = chosen;
}

// Run work of an event; `say(error)` shows what goes wrong.
export const guardedBy = (say) => (work) => async (event) => {
  event?.preventDefault?.();
  try {
    await work(event);
  } catch (error) {
    say(error);
  }
};
