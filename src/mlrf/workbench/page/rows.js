// Rows as text: pasted JSON and CSV, files of many rows, and categories as what people type.
import { toNumber } from "./numbers.js";

export class RowError extends Error {}

export const categoryText = (category) => (typeof category === "string" ? category : JSON.stringify(category));

// Return the value that a text stands for, or throw RowError.
export function parseValue(feature, text) {
  const trimmed = text.trim();
  if (feature.categories) {
    const found = feature.categories.find((c) => categoryText(c) === text) ?? feature.categories.find((c) => categoryText(c) === trimmed);
    if (found !== undefined) return found;
    if (feature.hashed && trimmed) return trimmed;
    throw new RowError(`${JSON.stringify(text)} is not one of its ${feature.categories.length} categories`);
  }
  if (feature.kind === "boolean") {
    if (["true", "1"].includes(trimmed.toLowerCase())) return true;
    if (["false", "0"].includes(trimmed.toLowerCase())) return false;
    throw new RowError("it must be true or false");
  }
  const number = toNumber(trimmed);
  if (!Number.isFinite(number)) throw new RowError(`${JSON.stringify(text)} is not a number`);
  if (feature.kind !== "numeric" && !Number.isInteger(number)) throw new RowError("it must be a whole number");
  return number;
}

// Return the cells of each line of a CSV text; a quoted cell may hold line ends.
export function splitCsv(text) {
  const lines = [];
  let cells = [], cell = "", quoted = false;
  const endCell = () => {
    cells.push(cell);
    cell = "";
  };
  const endLine = () => {
    endCell();
    if (cells.length > 1 || cells[0] !== "") lines.push(cells);
    cells = [];
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') cell += text[++i];
      else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"' && cell === "") quoted = true;
    else if (c === ",") endCell();
    else if (c === "\n") endLine();
    else if (c !== "\r" || text[i + 1] !== "\n") cell += c;
  }
  if (quoted) throw new RowError("a quoted cell does not end");
  endLine();
  return lines;
}

// Return the values by name that a pasted text holds.
export function parseRow(features, text) {
  const trimmed = text.trim();
  if (!trimmed) throw new RowError("paste a row first");
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) return rowOfJson(features, trimmed);
  const lines = splitCsv(trimmed), [first, second] = lines;
  const names = second ? first : features.map((f) => f.name), cells = second ?? first;
  if (cells.length !== names.length) throw new RowError(`${cells.length} cells do not fit ${names.length} names`);
  const found = new Map();
  for (const [i, name] of names.entries()) {
    const feature = features.find((f) => f.name === name);
    if (!feature) throw new RowError(`the column ${JSON.stringify(name)} is not a feature of this model`);
    found.set(name, parseCell(feature, cells[i]));
  }
  return found;
}

// Return the value of a cell of CSV; null for an empty one, nan and null.
export function parseCell(feature, cell) {
  if (["", "nan", "null", "NaN"].includes(cell.trim())) return null;
  try {
    return parseValue(feature, cell);
  } catch (error) {
    throw new RowError(`${feature.name}: ${error.message}`);
  }
}

function rowOfJson(features, text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new RowError(`this is not JSON: ${error.message}`);
  }
  given = !Array.isArray(given) && typeof given.features === "object" && given.features !== null ? given.features : given;
  const row = namedRow(features, given);
  const unknown = [...row.keys()].find((name) => !features.some((f) => f.name === name));
  if (unknown !== undefined) throw new RowError(`${JSON.stringify(unknown)} is not a feature of this model`);
  return row;
}

// Return the values by name of an object, or of an array in schema order, whose categories are codes.
export function namedRow(features, given) {
  if (typeof given !== "object" || given === null) throw new RowError(`${JSON.stringify(given)} is not a row`);
  if (!Array.isArray(given)) return new Map(Object.entries(given));
  if (given.length !== features.length) throw new RowError(`${given.length} values do not fit ${features.length} features`);
  return new Map(features.map((f, i) => [f.name, f.categories && Number.isInteger(given[i]) ? f.categories[given[i]] ?? given[i] : given[i]]));
}
