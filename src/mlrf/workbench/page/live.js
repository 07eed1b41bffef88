// Live: how the server does now, from /metrics every two seconds while the view is open. What was read stays in this page.
import { askText, superseding } from "./api.js";
import { $, tableRow } from "./dom.js";
import { bucketsBetween, bucketsBy, parseMetrics, quantile, sumBy, total } from "./metrics.js";
import { brief, short } from "./numbers.js";
import { colour, frame, small, svg } from "./svg.js";
import { currentView } from "./views.js";

const EVERY_MS = 2000, MOST_SAMPLES = 150, WINDOW_MS = 60_000, SECOND = 1000;
const next = superseding();
let samples = [], timer = null;

// Read now and again as long as the view is open and the page is seen.
export async function readLive() {
  clearTimeout(timer);
  if (currentView() !== "live") return;
  const signal = next();
  try {
    if (!document.hidden) keep(parseMetrics(await askText("/metrics", signal)));
    $("live-problem").textContent = "";
  } catch (error) {
    if (signal.aborted) return;
    $("live-problem").textContent = error.status === 401 || error.status === 403
      ? `The metrics need a key: ${error.message}. Enter one above.` : `The metrics cannot be read: ${error.message}`;
  }
  timer = setTimeout(readLive, EVERY_MS);
}

function keep(metrics) {
  const started = total(metrics, "mlrf_start_time_seconds");
  // Another start of the server counts from nought.
  if (samples.length && total(samples.at(-1).metrics, "mlrf_start_time_seconds") !== started) samples = [];
  samples = [...samples, { at: performance.now(), metrics }].slice(-MOST_SAMPLES);
  draw();
}

// The sample that the last minute began with.
const before = () => samples.find((each) => each.at >= samples.at(-1).at - WINDOW_MS) ?? samples[0];

function draw() {
  const { at, metrics } = samples.at(-1), then = before(), seconds = (at - then.at) / SECOND;
  const rate = (now, earlier) => (seconds > 0 ? ((now ?? 0) - (earlier ?? 0)) / seconds : null);
  drawRates();
  drawRoutes(metrics, then.metrics, rate);
  drawRefusals(metrics, then.metrics);
  const hits = total(metrics, "mlrf_cache_hits_total"), misses = total(metrics, "mlrf_cache_misses_total");
  $("live-cache").textContent = hits + misses ? `${hits} of ${hits + misses} look-ups (${short((100 * hits) / (hits + misses))} %), ${memory(total(metrics, "mlrf_cache_bytes"))} used` : "no look-ups yet";
  $("live-workers").textContent = `${total(metrics, "mlrf_workers_ready")} of ${total(metrics, "mlrf_workers")} ready; ${total(metrics, "mlrf_worker_failures_total")} failed since the start`;
  $("live-memory").replaceChildren(...[...sumBy(metrics, "mlrf_process_resident_memory_bytes", "process")].map(([name, bytes]) => tableRow(name, memory(bytes))));
  $("live-versions").replaceChildren(...(metrics.get("mlrf_bundle_info") ?? []).map(({ labels }) => tableRow(labels.model, labels.version)));
  const reloaded = total(metrics, "mlrf_last_reload_timestamp_seconds"), started = total(metrics, "mlrf_start_time_seconds");
  $("live-reload").textContent = `Server started ${moment(started)}; ${reloaded ? `last reload ${moment(reloaded)}` : "nothing reloaded since"}.`;
}

const memory = (bytes) => `${short(Math.round(bytes / 104857.6) / 10)} MiB`;
const moment = (seconds) => new Date(seconds * SECOND).toLocaleString();

function drawRoutes(metrics, then, rate) {
  const counts = sumBy(metrics, "mlrf_requests_total", "route"), earlier = sumBy(then, "mlrf_requests_total", "route");
  const buckets = bucketsBy(metrics, "mlrf_request_duration_seconds", "route"), old = bucketsBy(then, "mlrf_request_duration_seconds", "route");
  const used = [...counts].filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  $("live-routes").replaceChildren(...used.map(([route, count]) => {
    const own = bucketsBetween(old.get(route), buckets.get(route) ?? []), each = rate(count, earlier.get(route));
    const times = [0.5, 0.95, 0.99].map((q) => quantile(own, q)).map((t) => (t === null ? "" : `${brief(t * 1000)} ms`));
    return tableRow(route, each === null ? "" : short(each), ...times, String(count));
  }));
}

function drawRefusals(metrics, then) {
  const now = sumBy(metrics, "mlrf_refusals_total", "code"), earlier = sumBy(then, "mlrf_refusals_total", "code");
  const rows = [...now].filter(([, count]) => count > 0).map(([code, count]) => tableRow(code, String(count - (earlier.get(code) ?? 0)), String(count)));
  $("live-refusals").replaceChildren(...(rows.length ? rows : [tableRow("none", "0", "0")]));
}

// Requests a second between each two readings, as a line.
function drawRates() {
  const width = 640, height = 100, left = 48;
  const counts = samples.map(({ at, metrics }) => [at, total(metrics, "mlrf_requests_total")]);
  const rates = counts.slice(1).map(([at, n], i) => ((n - counts[i][1]) * SECOND) / (at - counts[i][0]));
  $("live-now").textContent = rates.length ? `${short(rates.at(-1))} requests a second now.` : "Reading…";
  const most = rates.reduce((a, b) => Math.max(a, b), 1);
  const drawn = frame(width, height, "Requests a second", rates.length ? `now ${short(rates.at(-1))}, most ${short(most)}` : "");
  const x = (i) => left + ((width - left - 8) * (MOST_SAMPLES - rates.length + i)) / MOST_SAMPLES, y = (v) => height - 12 - (height - 24) * (v / most);
  const d = rates.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  drawn.append(svg("path", { class: "rates", d: d || "M0 0", fill: "none", stroke: colour("--accent"), "stroke-width": 2 }));
  drawn.append(small({ x: left - 4, y: 16, "text-anchor": "end" }, brief(most)), small({ x: left - 4, y: height - 10, "text-anchor": "end" }, "0"));
  $("live-rates").replaceChildren(drawn);
}

export function startLive() {
  document.addEventListener("visibilitychange", () => (document.hidden ? undefined : readLive()));
}
