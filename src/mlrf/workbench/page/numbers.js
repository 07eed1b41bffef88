// Numbers as text, the links between margins and predictions, and float64 neighbours.
export const short = (x) => (typeof x === "number" ? String(Number(x.toPrecision(6))) : String(x));
export const signed = (x) => (x >= 0 ? "+" : "−") + short(Math.abs(x));

// Few enough digits for a mark of a scale.
export const brief = (x) => (x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e6) ? x.toExponential(1) : String(Number(x.toPrecision(4))));

export function shown(value) {
  if (value === null || value === undefined) return "missing";
  return typeof value === "number" ? short(value) : String(value);
}

export function linkOf({ kind, scale }) {
  switch (kind) {
    case "sigmoid": return (m) => 1 / (1 + Math.exp(-scale * m));
    case "exp": return Math.exp;
    case "signed_square": return (m) => m * Math.abs(m);
    case "log1p_exp": return (m) => Math.log1p(Math.exp(m));
    default: return null;
  }
}

export const LINK_NAMES = {
  sigmoid: "a probability; the scale below is its log-odds",
  exp: "e to the power of the sum; the scale below is its logarithm",
  signed_square: "the signed square of the sum",
  log1p_exp: "log(1 + e to the power of the sum)",
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
