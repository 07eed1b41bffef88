// Numbers as text and text as numbers in the reader's locale, the links between margins and predictions, float64 neighbours.
const POINT = new Intl.NumberFormat().formatToParts(0.5).find((part) => part.type === "decimal")?.value ?? ".";
const local = (text) => text.replace(".", POINT);

// Every digit of a number: the shortest text that stands for it alone.
export const full = (x) => (typeof x === "number" ? local(String(x)) : String(x));
export const short = (x) => (typeof x === "number" ? local(String(Number(x.toPrecision(6)))) : String(x));
export const signed = (x) => (x >= 0 ? "+" : "−") + short(Math.abs(x));

// Few enough digits for a mark of a scale.
export function brief(x) {
  return local(x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e6) ? x.toExponential(1) : String(Number(x.toPrecision(4))));
}

// The number of a text, with the decimal sign of the reader's locale or a point; NaN where it is none.
export function toNumber(text) {
  const trimmed = text.trim();
  if (trimmed === "") return NaN;
  return Number(POINT !== "." && !trimmed.includes(".") ? trimmed.replace(POINT, ".") : trimmed);
}

export function shown(value) {
  if (value === null || value === undefined) return "missing";
  return typeof value === "number" ? short(value) : String(value);
}

export const wholeText = (value) => (value === null || value === undefined ? "missing" : full(value));

export function linkOf({ kind, scale }) {
  switch (kind) {
    case "sigmoid": return (m) => 1 / (1 + Math.exp(-scale * m));
    case "exp": return Math.exp;
    case "signed_square": return (m) => m * Math.abs(m);
    case "log1p_exp": return (m) => Math.log1p(Math.exp(m));
    case "clip": return (m) => Math.min(Math.max(m, 0), 1);
    default: return null;
  }
}

export const LINK_NAMES = {
  sigmoid: "a probability; the scale below is its log-odds",
  exp: "e to the power of the sum; the scale below is its logarithm",
  softmax: "probabilities of the classes, by the softmax of their sums",
  signed_square: "the signed square of the sum",
  log1p_exp: "log(1 + e to the power of the sum)",
  clip: "the sum, between 0 and 1",
};

// The next float64 above x.
export function nextUp(x) {
  if (x === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + (x > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

export function ticks(low, high, n) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
