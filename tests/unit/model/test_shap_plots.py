"""`Explanation.to_shap`: shap's own plots take it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mlrf.core.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore")  # shap's and matplotlib's own business


@pytest.fixture(scope="module")
def plt():
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    yield plt
    plt.close("all")


def test_a_single_output_is_plotted(model, table, plt):
    import shap  # noqa: PLC0415

    explained = model.explain(table)
    explanation = explained.to_shap()
    assert explanation.shape == (40, 7)
    np.testing.assert_array_equal(explanation.values, explained.values)
    np.testing.assert_array_equal(explanation.base_values, np.full(40, explained.base))
    assert explanation.feature_names == list(model.schema.names)
    axes = shap.plots.waterfall(explanation[3], show=False)
    plt.gcf().canvas.draw()
    heaviest = max(explained.values[3].tolist(), key=abs)
    shown = [text.get_text() for text in _texts(axes.figure)]
    assert f"{heaviest:+.2f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}") in shown
    plt.figure()
    shap.plots.beeswarm(explanation, show=False)
    plt.gcf().canvas.draw()
    assert {label.get_text() for label in plt.gca().get_yticklabels()} >= {"price", "depth"}


def test_each_output_of_several_is_plotted(class_model, table, plt):
    import shap  # noqa: PLC0415

    explained = class_model.explain(table)
    explanation = explained.to_shap()
    assert explanation.shape == (40, 7, 3)
    assert explanation.base_values.shape == (40, 3)
    for output in range(3):
        one = explanation[..., output]
        np.testing.assert_array_equal(one.values, explained.values[..., output])
        np.testing.assert_array_equal(one.base_values, np.full(40, explained.base[output]))
        plt.figure()
        shap.plots.waterfall(one[0], show=False)
        plt.figure()
        shap.plots.beeswarm(one, show=False)
        plt.gcf().canvas.draw()


def test_plots_print_categories_and_booleans(model, table, plt):
    import shap  # noqa: PLC0415

    one = table[3:4].copy()
    one[0, 2:5] = 1.0, 2.0, 0.0
    explanation = model.explain(one).to_shap()
    assert explanation.display_data[0, 2:5].tolist() == [True, "east", 10]
    assert explanation.data[0, 2:5].tolist() == [1.0, 2.0, 0.0]
    plt.figure()
    axes = shap.plots.waterfall(explanation[0], show=False)
    shown = {text.get_text() for text in _texts(axes.figure)}
    assert {"True = promo", "east = store", "10 = size"} <= shown


def _texts(figure):
    return [text for axes in figure.axes for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())]


def test_without_shap_the_sentence_says_what_to_install(class_bundle):
    script = (
        "import sys; sys.modules['shap'] = None\n"
        "import mlrf, numpy as np\n"
        f"explained = mlrf.load({str(class_bundle)!r}).explain(np.zeros((1, 7)))\n"
        "from mlrf.core.errors import ConfigError\n"
        "try: explained.to_shap()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert "pip install shap" in done.stdout
    assert ConfigError.code == "CONFIG_INVALID"
