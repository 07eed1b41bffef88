"""What explains a game whose background or groups a caller gives, instead of the files of the bundle."""

from __future__ import annotations

from mlrf.engines.interface import BackgroundExplainer, Rows
from mlrf.model.background import explainer_against, stored_rows
from mlrf.model.feature_groups import FeatureGroups, group_explainer
from mlrf.model.row_predictor import RowPredictor

Background = Rows | BackgroundExplainer | bool | None
"""The rows [n, F] of a background, what explains against them, True for those in the bundle, else none."""


def explainer_of(model: RowPredictor, background: Background, groups: FeatureGroups | None) -> BackgroundExplainer:
    """Return the explainer of a caller's game; errors as of `explainer_against` and `against_stored`."""
    if isinstance(background, BackgroundExplainer):
        return background
    if groups is None and background is True:
        return model.games().game(("background",)).explainer
    players = model.explainer() if groups is None else group_explainer(model.explainer(), groups)
    if background is None or background is False:
        return players
    return explainer_against(players, stored_rows(model.bundle) if background is True else background)
