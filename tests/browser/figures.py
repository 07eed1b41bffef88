"""Figures of the page, each with its bar: `make page-figures`. They mean something on a quiet machine only."""

from __future__ import annotations

import gzip
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

import mlrf
from mlrf.workbench.files import CONTENT_TYPES, read_file
from page_visits import CHROMIUM, Visit
from running import eventually, serving

N_FEATURES, N_TREES, N_LEAVES = 27, 690, 63
NAMES = [f"x{i}" for i in range(N_FEATURES)]
_MOVES, _PAINTS, _ROUNDS, _STARTS = 300, 9, 10, 5
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

MOVE = """async n => {
  const slider = document.querySelector('[aria-label="x3, slider"]'), box = document.querySelector("#waterfall");
  const [low, high] = [Number(slider.min), Number(slider.max)], times = [];
  for (let i = 0; i < n; i++) {
    const drawn = new Promise(done => {
      const seen = new MutationObserver(() => { seen.disconnect(); requestAnimationFrame(() => done()); });
      seen.observe(box, {childList: true});
    });
    const began = performance.now();
    slider.value = low + (high - low) * ((i * 0.618) % 1);
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    await drawn;
    times.push(performance.now() - began);
    await new Promise(done => setTimeout(done, 16));
  }
  return times;
}"""
"""Moves a slider; the time of each move ends with the frame that shows the new waterfall."""


def build(folder: Path) -> Path:
    """A classifier of 690 trees of 63 leaves over 27 numbers, with every threshold that LightGBM's 255 bins give."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(20_000, N_FEATURES))
    weights = rng.normal(size=N_FEATURES)
    margin = np.sin(2 * table) @ weights + 0.5 * table[:, 0] * table[:, 1]
    frame = pd.DataFrame(table, columns=NAMES)
    options = {
        "objective": "binary",
        "num_leaves": N_LEAVES,
        "min_data_in_leaf": 5,
        "learning_rate": 0.05,
        "verbose": -1,
        "num_threads": 1,
        "seed": 1,
    }
    labels = rng.random(len(table)) < 1 / (1 + np.exp(-margin))
    model = lgb.train(options, lgb.Dataset(frame, labels), N_TREES)
    return mlrf.build(model, folder / "b", name="b", sample=frame.head(200))


def slider_ms(page) -> float:
    """The 95th percentile of the time from a move of a slider to the new waterfall."""
    page.wait_for_selector('[aria-label="x3, slider"]')
    times = sorted(page.evaluate(MOVE, _MOVES))
    return times[math.ceil(0.95 * len(times)) - 1]


def first_paint_ms(browser, origin: str) -> float:
    """The median time to the first paint of contents, each in a new context."""
    found = []
    for _ in range(_PAINTS):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{origin}/ui")
        page.wait_for_selector("#prediction:not(:empty)")
        found.append(page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        context.close()
    return statistics.median(found)


def cpu_s(server) -> float:
    """Processor time of the workers so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split() for pid in server.workers()]
    return sum(int(each[11]) + int(each[12]) for each in fields) * _TICK_S


def curves_ms(server) -> float:
    """Processor time of the server for the curves of all features of one row, every threshold."""
    began, n = cpu_s(server), 0
    for turn in range(_ROUNDS):
        row = dict.fromkeys(NAMES, turn / 1000)
        for name in NAMES:
            answer = server.ask("POST", "/curve", {"features": row, "vary": name})
            assert answer.status == 200
            n += len(answer.json["predictions"])
    print(f"  ({n // _ROUNDS} points in all)", file=sys.stderr)
    return (cpu_s(server) - began) / _ROUNDS * 1000


def private_kb(path: Path, ui: str) -> float:
    """The median of what a worker that answered once has to itself, over several starts."""
    found = []
    for _ in range(_STARTS):
        with serving(path, options=["--ui", ui]) as server:
            server.ask("POST", "/predict", {"features": dict.fromkeys(NAMES, 0.5)})
            (pid,) = server.workers()
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")))
    return statistics.median(found)


def main() -> None:
    """Print each figure and its bar; exit with 1 if one misses it."""
    rows: list[tuple[str, float, float, str]] = []
    size = sum(len(gzip.compress(read_file(name), 9)) for name in CONTENT_TYPES) / 1000
    rows.append(("page, each file gzipped", size, 120, "kB"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = build(Path(folder))
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        with serving(path, options=["--cache", "0"]) as server:
            origin = f"http://127.0.0.1:{server.port}"
            visit = Visit(browser.new_page(), origin)
            page = visit.open("b")
            rows.append(("slider to new waterfall, p95", slider_ms(page), 50, "ms"))
            page.close()
            rows.append(("first paint, median", first_paint_ms(browser, origin), 300, "ms"))
            eventually(server.is_ready, what="the server")
            rows.append((f"curves of all {N_FEATURES} features, server's processor time", curves_ms(server), 100, "ms"))
        browser.close()
        cost = private_kb(path, "on") - private_kb(path, "off")
        rows.append(("memory of a worker whose page nobody opens", cost, 200, "kB"))
    for name, figure, bar, unit in rows:
        print(f"{name:60s} {figure:9.1f} {unit:3s} (bar {bar} {unit}){'' if figure < bar else '  MISSED'}")
    sys.exit(any(figure >= bar for _, figure, bar, _ in rows))


if __name__ == "__main__":
    main()
