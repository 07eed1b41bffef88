"""The screenshots of the page in docs/images, of a small model that is trained here: `make screenshots`."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

import mlrf
from mlrf.core.publishing import publish
from page_visits import CHROMIUM, Visit
from running import serving

SIZE = {"width": 1200, "height": 820}
ROW = {"price": 4.5, "promotion": True, "shop": "airport", "temperature": 24.5, "sold_a_week_ago": 22}


def frame_of(n: int) -> pd.DataFrame:
    """Days of a shop."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "price": rng.uniform(1, 10, n).round(2),
            "promotion": rng.random(n) < 0.25,
            "shop": pd.Categorical(rng.choice(["station", "market square", "airport", "suburb"], n)),
            "temperature": rng.normal(15, 8, n).round(1),
            "sold_a_week_ago": rng.poisson(20, n),
        }
    )


def build(folder: Path, n_trees: int) -> Path:
    """A model of how many pieces a shop sells a day."""
    frame = frame_of(4000)
    shop = frame["shop"].map({"station": 0.5, "market square": 0.3, "airport": 0.8, "suburb": -0.4}).astype(float)
    hot = np.clip(frame["temperature"] - 18, 0, 12) / 12
    rate = 2.4 - 0.18 * frame["price"] + 0.7 * frame["promotion"] + shop + hot + 0.02 * frame["sold_a_week_ago"]
    data = lgb.Dataset(frame, np.random.default_rng(2).poisson(np.exp(rate)))
    options = {
        "objective": "poisson",
        "num_leaves": 15,
        "verbose": -1,
        "num_threads": 1,
        "seed": 1,
        "learning_rate": 0.1,
    }
    model = lgb.train(options, data, n_trees)
    return mlrf.build(model, folder / f"sold-{n_trees}", name="pieces-sold", sample=frame.head(200))


def main(out: Path) -> None:
    """Write the pictures to a folder."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        for n_trees in (12, 60):
            publish(build(Path(folder), n_trees), Path(folder) / "models")
        models = Path(folder) / "models"
        server = opened.enter_context(serving(models, models / "pieces-sold@1", options=["--default", "pieces-sold"]))
        driver = opened.enter_context(sync_playwright())
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visit = Visit(browser.new_page(viewport=SIZE), f"http://127.0.0.1:{server.port}")
        page = visit.open("pieces-sold")
        page.click("text=Paste a row")
        page.fill("#paste", json.dumps(ROW))
        page.click("text=Fill in the row")
        page.click("text=Paste a row")
        visit.settle()
        page.click("#begin-here")
        page.mouse.move(0, 0)
        page.screenshot(path=out / "workbench-why.png")
        page.get_by_label("price", exact=True).fill("7.5")
        visit.settle()
        page.fill("#target", "30")
        page.click("#nearest button:text-is('Find')")
        page.wait_for_selector("#found li")
        page.evaluate("() => document.querySelector('#what-if').scrollIntoView()")
        page.screenshot(path=out / "workbench-what-if.png")
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_selector("#compare-curves figure")
        page.fill("#actual", "24")
        visit.settle()
        page.evaluate("() => scrollTo(0, 0)")
        page.screenshot(path=out / "workbench-compare.png")
        page.get_by_role("button", name="Many rows", exact=True).click()
        (Path(folder) / "days.csv").write_text(frame_of(1000).to_csv(index=False))
        page.set_input_files("#many-file", Path(folder) / "days.csv")
        page.wait_for_selector("#many-results:not([hidden])")
        visit.settle()
        page.screenshot(
            path=out / "workbench-many.png", full_page=True, clip={"x": 0, "y": 0, "width": 1000, "height": 1560}
        )
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
