"""The screenshots of the page in docs/images, of a small model that is trained here: `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

import mlrf
from page_visits import CHROMIUM, Visit
from running import serving

SIZE = {"width": 1200, "height": 820}


def build(folder: Path) -> Path:
    """A model of how many pieces a shop sells a day."""
    rng = np.random.default_rng(1)
    n = 4000
    frame = pd.DataFrame(
        {
            "price": rng.uniform(1, 10, n).round(2),
            "promotion": rng.random(n) < 0.25,
            "shop": pd.Categorical(rng.choice(["station", "market square", "airport", "suburb"], n)),
            "temperature": rng.normal(15, 8, n).round(1),
            "sold_a_week_ago": rng.poisson(20, n),
        }
    )
    shop = frame["shop"].map({"station": 0.5, "market square": 0.3, "airport": 0.8, "suburb": -0.4}).astype(float)
    hot = np.clip(frame["temperature"] - 18, 0, 12) / 12
    rate = 2.4 - 0.18 * frame["price"] + 0.7 * frame["promotion"] + shop + hot + 0.02 * frame["sold_a_week_ago"]
    data = lgb.Dataset(frame, rng.poisson(np.exp(rate)))
    options = {
        "objective": "poisson",
        "num_leaves": 15,
        "verbose": -1,
        "num_threads": 1,
        "seed": 1,
        "learning_rate": 0.1,
    }
    return mlrf.build(lgb.train(options, data, 60), folder / "sold", name="pieces-sold", sample=frame.head(200))


def main(out: Path) -> None:
    """Write the pictures to a folder."""
    row = {"price": 4.5, "promotion": True, "shop": "airport", "temperature": 24.5, "sold_a_week_ago": 22}
    with tempfile.TemporaryDirectory() as folder, serving(build(Path(folder))) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visit = Visit(browser.new_page(viewport=SIZE), f"http://127.0.0.1:{server.port}")
        page = visit.open("pieces-sold")
        page.click("text=Paste a row")
        page.fill("#paste", pd.Series(row, dtype=object).to_json())
        page.click("text=Fill in the row")
        page.click("text=Paste a row")
        visit.settle()
        page.click("#begin-here")
        page.screenshot(path=out / "workbench-why.png")
        page.get_by_label("price", exact=True).fill("7.5")
        visit.settle()
        page.locator("#what-if-title").scroll_into_view_if_needed()
        page.evaluate("() => document.querySelector('#what-if').scrollIntoView()")
        page.fill("#target", "30")
        page.click("#nearest button")
        page.wait_for_selector("#found:not(:empty)")
        page.evaluate("() => document.querySelector('#what-if').scrollIntoView()")
        page.screenshot(path=out / "workbench-what-if.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
