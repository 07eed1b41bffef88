"""`mlrf replay`: answer a prediction log again, and compare every answer to the bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mlrf.cli.exit_status import FAILED
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.replay_comparison import comparable, different_members, is_equal, moved_most
from mlrf.cli.row_leniency import leniency_of
from mlrf.cli.terminal_text import escaped, escaped_json
from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError, MlrfError
from mlrf.core.leniency import UnknownCategories
from mlrf.core.named_bundle import open_bundle
from mlrf.core.repository import ModelDirectory, model_directories
from mlrf.model.logged_predictions import LoggedPrediction, origin_of, read_log

if TYPE_CHECKING:
    from mlrf.cli.replayed_answers import ReplayedModel


def replay(
    log: Annotated[
        Path,
        typer.Argument(help="Directory of `mlrf serve --prediction-log`, or a file of it.", parser=non_empty_path),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            help="Repository or model in one, to answer each record with the version that answered it; or a bundle, or "
            "REPOSITORY/NAME@VERSION, to answer all with it.",
            parser=non_empty_path,
            metavar="bundle",
        ),
    ],
    show: Annotated[int, typer.Option(min=0, help="Number of differing records to describe.")] = 20,
    unknown_categories: Annotated[
        str, typer.Option(help="As the server had it: `refuse`, `missing` or `as-library`.")
    ] = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Answer every record of a prediction log again, and compare the answers bit for bit, by version.

    Exit status 1 if an answer differs, or a record cannot be answered. A prediction by key is answered from the features
    that the log kept.

    \b
    Examples:
      mlrf replay log models           does every version still answer as it did?
      mlrf replay log models/sales@4   what would version 4 have answered?
    """  # noqa: D301  \b is the character that keeps typer from joining lines
    run = _Replay(target, leniency_of(unknown_categories).unknown_categories)
    for record in read_log(log):
        run.add(record, show)
    if not run.counts:
        raise ConfigError(f"{log}: contains no record")
    if as_json:
        typer.echo(escaped_json(run.document(), indent=2))
    else:
        for line in run.lines():
            typer.echo(escaped(line))
    if run.n_failed:
        raise typer.Exit(FAILED)


class _Replay:
    """The models that answer, and what was found."""

    def __init__(self, target: Path, unknown_categories: UnknownCategories) -> None:
        self._unknown_categories = unknown_categories
        self._directories = model_directories(target) if target.exists() else []
        self._only: ReplayedModel | None = None
        if not self._directories:
            self._only = self._opened(open_bundle(target))
            self._directories = _repository_of(target)
        self._models: dict[tuple[str, str], ReplayedModel | None] = {}
        self.counts: dict[str, Counter[str]] = {}
        """By model and version: records that are `equal`, `different`, `not answered`, or of `other models`."""
        self._described: list[dict[str, Any]] = []

    @property
    def n_failed(self) -> int:
        """The number of records that differ or were not answered."""
        return sum(each["different"] + each["not answered"] for each in self.counts.values())

    def add(self, record: LoggedPrediction, n_shown: int) -> None:
        """Answer a record and compare; only the first `n_shown` failures are described."""
        name, version = origin_of(record)
        counts = self.counts.setdefault(f"{name or '-'} {version or '-'}", Counter())
        if self._only is not None and name not in ("", self._only.bundle.name):
            counts["other models"] += 1
            return
        described: dict[str, Any] = {"time": record.time, "request_id": record.request_id, "route": record.route}
        described |= {"model": name, "version": version}
        try:
            model = self._only or self._recorded_model(name, version)
            now, before = comparable(model.answer(record)), comparable(record.answer)
            if is_equal(before, now):
                counts["equal"] += 1
                return
            counts["different"] += 1
            if len(self._described) < n_shown:
                described["members"] = different_members(before, now)
                described["moved"] = self._moved(record, model, before, now)
        except MlrfError as error:
            counts["not answered"] += 1
            described["refused"] = str(error)
        except (msgspec.MsgspecError, RecursionError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Of a damaged record: a server logs only what it answered.
            counts["not answered"] += 1
            described["refused"] = f"the record has no form that is known ({error})"
        if len(self._described) < n_shown:
            self._described.append(described)

    def document(self) -> dict[str, Any]:
        """Return what was found as JSON values."""
        return {"versions": {name: dict(each) for name, each in self.counts.items()}, "failed": self._described}

    def lines(self) -> list[str]:
        """Return what was found as lines of text."""
        lines = [
            f"{name}: " + ", ".join(f"{count} {what}" for what, count in each.items())
            for name, each in self.counts.items()
        ]
        for each in self._described:
            lines.append(f"{each['time']} {each['request_id']} {each['route']} {each['model']} {each['version']}")
            if "refused" in each:
                lines.append(f"  not answered: {each['refused']}")
                continue
            for name, (before, now) in each["members"].items():
                if name != "explanation":
                    lines.append(f"  {name}: {before} -> {now}")
            for moved in each["moved"]:
                start = f"  instance {moved['instance']}: "
                lines += [
                    f"{start}{one['feature']} = {one['value']}: contribution {one['before']} -> {one['now']}"
                    for one in moved["features"]
                ]
        return lines

    def _moved(self, record: LoggedPrediction, model: ReplayedModel, before: Any, now: Any) -> list[dict[str, Any]]:
        """Return the features whose contributions moved most, for each instance of a native request that differs."""
        from mlrf.cli.replayed_answers import instances_of  # noqa: PLC0415

        instances = instances_of(record)
        old, new = (each.get("predictions", [each.get("prediction")]) for each in (before, now))
        moved: list[dict[str, Any]] = []
        if not len(instances) == len(old) == len(new):
            return moved
        try:
            earlier = self._recorded_model(*origin_of(record))
        except BundleError:
            earlier = None
        for index, instance in enumerate(instances):
            if is_equal(old[index], new[index]):
                continue
            try:
                found = model.explain(instance)
                logged = before.get("explanation", {}) if earlier is None else earlier.explain(instance)["explanation"]
            except MlrfError:  # a model that cannot be explained, or a row that it refuses
                continue
            contributions = found["explanation"]["contributions"]
            largest = moved_most(found["features"], logged.get("contributions"), contributions)
            moved.append({"instance": index, "features": largest})
        return moved

    def _recorded_model(self, name: str, version: str) -> ReplayedModel:
        """Return the version that answered a record; BundleError if the repository does not have it."""
        key = name, version
        if key not in self._models:
            self._models[key] = self._found(name, version)
        if (model := self._models[key]) is None:
            raise BundleError(
                f"version {version} of {name} is not in the repository; name a bundle to answer with"
                if name
                else "the answer does not name its version; name a bundle to answer with"
            )
        return model

    def _found(self, name: str, version: str) -> ReplayedModel | None:
        for directory in self._directories:
            if directory.name == name and version:
                try:
                    return self._opened(directory.read(directory.find(version)))
                except BundleError:
                    return None
        return None

    def _opened(self, bundle: Bundle) -> ReplayedModel:
        from mlrf.cli.replayed_answers import ReplayedModel  # noqa: PLC0415  with the server's packages

        return ReplayedModel(bundle, self._unknown_categories)


def _repository_of(target: Path) -> list[ModelDirectory]:
    """Return the model directory of REPOSITORY/NAME@VERSION, whose other versions may have answered; else none."""
    name, at, _ = target.name.rpartition("@")
    directory = target.with_name(name) if name and at else target.parent
    try:
        return model_directories(directory) if directory.exists() else []
    except MlrfError:
        return []
