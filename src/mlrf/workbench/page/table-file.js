// A file of rows as the page takes it: CSV with a header line, JSON, or JSON lines.
import { namedRow, parseCell, RowError, splitCsv } from "./rows.js";

export const MOST_BYTES = 50 << 20;

// Return {rows, refused, ignored, absent} of a file's text: rows are {number, values} with the row's number in the file from 1,
// refused are {number, reason}; columns that are no features are ignored, and features without a column are absent.
export function readTable(features, text) {
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  if (!trimmed) throw new RowError("the file is empty");
  return trimmed.startsWith("[") || trimmed.startsWith("{") ? ofJson(features, trimmed) : ofCsv(features, trimmed);
}

function collect(features, n, names, valuesOf) {
  const known = new Set(features.map((f) => f.name)), given = new Set(names);
  const rows = [], refused = [];
  for (let i = 0; i < n; i++) {
    try {
      rows.push({ number: i + 1, values: valuesOf(i) });
    } catch (error) {
      refused.push({ number: i + 1, reason: error.message });
    }
  }
  if (n > 0 && !names.some((name) => known.has(name))) throw new RowError("no column of the file is a feature of this model");
  return { rows, refused, ignored: names.filter((name) => !known.has(name)), absent: [...known].filter((name) => !given.has(name)) };
}

function ofCsv(features, text) {
  const [header, ...lines] = splitCsv(text), columns = features.map((f) => [f, header.indexOf(f.name)]);
  const twice = header.find((name, i) => header.indexOf(name) !== i);
  if (twice !== undefined) throw new RowError(`the column ${JSON.stringify(twice)} is there twice`);
  return collect(features, lines.length, header, (i) => {
    if (lines[i].length !== header.length) throw new RowError(`${lines[i].length} cells do not fit ${header.length} columns`);
    return new Map(columns.map(([feature, at]) => [feature.name, at < 0 ? null : parseCell(feature, lines[i][at])]));
  });
}

function ofJson(features, text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch (error) {
    given = jsonLines(text, error);
  }
  if (Array.isArray(given?.columns) && Array.isArray(given?.data)) {
    const { columns, data } = given;
    given = data.map((cells) => Object.fromEntries(columns.map((name, i) => [name, cells[i]])));
  } else if (Array.isArray(given?.instances)) given = given.instances;
  if (!Array.isArray(given)) given = [given];
  const named = given.map((each) => (each !== null && typeof each?.features === "object" ? each.features : each));
  const isNamed = (each) => typeof each === "object" && each !== null && !Array.isArray(each);
  const names = [...new Set(named.flatMap((each) => (isNamed(each) ? Object.keys(each) : features.map((f) => f.name))))];
  return collect(features, named.length, names, (i) => {
    const row = namedRow(features, named[i]);
    return new Map(features.map((f) => [f.name, row.get(f.name) ?? null]));
  });
}

function jsonLines(text, error) {
  try {
    return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
  } catch {
    throw new RowError(`this is not JSON: ${error.message}`);
  }
}
