// The server's counts from /metrics, in Prometheus' text format: sums, rates between two moments, and quantiles.
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };

// Return the samples by metric: Map of name to [{labels, value}].
export function parseMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const open = line.indexOf("{"), end = line.lastIndexOf(" "), name = line.slice(0, open < 0 ? end : open), labels = {};
    if (open >= 0) for (const [, label, value] of line.slice(open, end).matchAll(LABEL)) labels[label] = value.replace(/\\[\\"n]/g, (c) => ESCAPES[c]);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels, value: Number(line.slice(end + 1)) });
  }
  return found;
}

// Sum the samples of a metric by one label: Map of the label's value to the sum.
export function sumBy(samples, metric, label) {
  const sums = new Map();
  for (const { labels, value } of samples.get(metric) ?? []) sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  return sums;
}

export const total = (samples, metric) => (samples.get(metric) ?? []).reduce((sum, { value }) => sum + value, 0);

// The buckets of a histogram by one label, over all other labels: Map of the value to [[upper bound, count]], cumulative.
export function bucketsBy(samples, metric, label) {
  const found = new Map();
  for (const { labels, value } of samples.get(`${metric}_bucket`) ?? []) {
    if (!found.has(labels[label])) found.set(labels[label], new Map());
    const bounds = found.get(labels[label]), bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    bounds.set(bound, (bounds.get(bound) ?? 0) + value);
  }
  return new Map([...found].map(([key, bounds]) => [key, [...bounds].sort((a, b) => a[0] - b[0])]));
}

// What was counted between two moments, bucket by bucket.
export function bucketsBetween(before, now) {
  const then = new Map(before ?? []);
  return now.map(([bound, count]) => [bound, count - (then.get(bound) ?? 0)]);
}

// The quantile of cumulative buckets, as Prometheus computes it: linear within a bucket; null where nothing was counted.
export function quantile(buckets, q) {
  const all = buckets.at(-1)?.[1] ?? 0;
  if (!(all > 0)) return null;
  const rank = q * all, i = buckets.findIndex(([, count]) => count >= rank), [bound, count] = buckets[i];
  const [from, below] = i > 0 ? buckets[i - 1] : [0, 0];
  return bound === Infinity ? from : from + ((bound - from) * (rank - below)) / (count - below || 1);
}
