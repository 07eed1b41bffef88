// Rows as text: pasted JSON and CSV, and categories as what people type.
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
  const number = trimmed === "" ? NaN : Number(trimmed);
  if (!Number.isFinite(number)) throw new RowError(`${JSON.stringify(text)} is not a number`);
  if (feature.kind !== "numeric" && !Number.isInteger(number)) throw new RowError("it must be a whole number");
  return number;
}

export function splitCsv(line) {
  const cells = [];
  let cell = "", quoted = false, wasQuoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quoted) {
      if (c === '"' && line[i + 1] === '"') cell += line[++i];
      else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"' && cell === "") quoted = wasQuoted = true;
    else if (c === ",") {
      cells.push(cell);
      cell = "";
    } else cell += c;
  }
  if (quoted) throw new RowError("a quoted cell does not end");
  cells.push(cell);
  return cells;
}

// Return the values by name that a pasted text holds.
export function parseRow(features, text) {
  const trimmed = text.trim();
  if (!trimmed) throw new RowError("paste a row first");
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) return rowOfJson(features, trimmed);
  const lines = trimmed.split(/\r?\n/);
  const names = lines.length > 1 ? splitCsv(lines[0]) : features.map((f) => f.name);
  const cells = splitCsv(lines[lines.length > 1 ? 1 : 0]);
  if (cells.length !== names.length) throw new RowError(`${cells.length} cells do not fit ${names.length} names`);
  const found = new Map();
  for (const [i, name] of names.entries()) {
    const feature = features.find((f) => f.name === name);
    if (!feature) throw new RowError(`the column ${JSON.stringify(name)} is not a feature of this model`);
    const isMissing = ["", "nan", "null", "NaN"].includes(cells[i].trim());
    try {
      found.set(name, isMissing ? null : parseValue(feature, cells[i]));
    } catch (error) {
      throw new RowError(`${name}: ${error.message}`);
    }
  }
  return found;
}

function rowOfJson(features, text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new RowError(`this is not JSON: ${error.message}`);
  }
  given = !Array.isArray(given) && typeof given.features === "object" && given.features !== null ? given.features : given;
  if (Array.isArray(given)) {
    if (given.length !== features.length) throw new RowError(`${given.length} values do not fit ${features.length} features`);
    return new Map(features.map((f, i) => [f.name, f.categories && Number.isInteger(given[i]) ? f.categories[given[i]] ?? given[i] : given[i]]));
  }
  const unknown = Object.keys(given).find((name) => !features.some((f) => f.name === name));
  if (unknown !== undefined) throw new RowError(`${JSON.stringify(unknown)} is not a feature of this model`);
  return new Map(Object.entries(given));
}
