"""Trials: one student each, its result kept in a file, so that a table can be continued."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from bench.distillation.clouds import Clouds, FewerViews, LiveTeacher, one_thread
from kdrec.client import Recording
from kdrec.student import (
    BatchSource,
    TrainSettings,
    evaluate,
    join_teachers,
    load_student,
    train,
)


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Attributes:
        name: Of the row.
        source: `live`, or what to train from, see `Clouds.recordings`.
        views: Kept of it; 0 for all.
        settings: That differ from the defaults of the bench.
    """

    name: str
    source: str = "exact"
    views: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


class Laboratory:
    """Trains students and remembers how good they were.

    Args:
        clouds: To train on.
        epochs: Of each student.
        seeds: Of each arm.
    """

    def __init__(self, clouds: Clouds, *, epochs: int, seeds: int) -> None:
        self.clouds = clouds
        self.epochs = epochs
        self.seeds = seeds
        self._file = clouds.work / "trials.jsonl"
        self._known = self._read()
        self._recordings: dict[str, list[Recording]] = {}

    def accuracies(self, arm: Arm) -> list[float]:
        """Test accuracy at the end, in percent, one student a seed."""
        return [100 * self._trial(arm, seed) for seed in range(self.seeds)]

    def _trial(self, arm: Arm, seed: int) -> float:
        settings = self.settings(seed, arm.settings)
        # A student of fewer epochs sees no more views than epochs: such arms are one.
        views = min(arm.views or self.clouds.views, self.epochs)
        what = {
            "source": arm.source,
            "views": 0 if arm.source == "live" else views,
            "points": self.clouds.points,
            "settings": settings.model_dump(mode="json", exclude_defaults=True),
        }
        if self.clouds.per_class is not None:
            what["per_class"] = self.clouds.per_class
        key = json.dumps(what, sort_keys=True)
        if key not in self._known:
            source = self._source(arm.source, views, settings)
            self._known[key] = self._train(source, settings)
            with self._file.open("a") as file:
                file.write(json.dumps({**what, "accuracy": self._known[key]}) + "\n")
            accuracy = f"{100 * self._known[key]:.1f} %"
            print(f"{arm.name}, seed {seed}: {accuracy}", file=sys.stderr, flush=True)
        return self._known[key]

    def settings(self, seed: int, changed: dict[str, Any]) -> TrainSettings:
        """Of one student; three times the usual rate, because it has few steps to learn in."""
        usual: dict[str, Any] = {"epochs": self.epochs, "learning_rate": 3e-3, "threads": 1}
        return TrainSettings(**{**usual, "seed": seed, "device": "cpu", **changed})

    def _train(self, source: BatchSource, settings: TrainSettings) -> float:
        with tempfile.TemporaryDirectory() as folder, one_thread():
            train(source, settings, Path(folder))
            student = load_student(Path(folder))
            return evaluate(student.model, self.clouds.test, normalize=True).accuracy

    def _source(self, source: str, views: int, settings: TrainSettings) -> BatchSource:
        if source == "live":
            return LiveTeacher(self.clouds, seed=settings.seed)
        if source not in self._recordings:
            with one_thread():
                self._recordings[source] = self.clouds.recordings(source)
        return FewerViews(join_teachers(self._recordings[source], None, settings), views)

    def _read(self) -> dict[str, float]:
        self.clouds.work.mkdir(parents=True, exist_ok=True)
        found = {}
        for line in self._file.read_text().splitlines() if self._file.exists() else []:
            what = json.loads(line)
            accuracy = what.pop("accuracy")
            found[json.dumps(what, sort_keys=True)] = accuracy
        return found


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided exact p-value of paired differences under random signs.

    With n pairs it cannot be below 2 / 2^n: 0.06 for 5 of them.
    """
    observed = abs(sum(differences))
    flips = product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in flips]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


def print_table(
    laboratory: Laboratory, wanted: Sequence[Arm], *, arms: Sequence[Arm], against: str
) -> dict[str, list[float]]:
    """Train what is missing and print a table in Markdown, each row as soon as it is known.

    Args:
        laboratory: Where.
        wanted: Rows to print.
        arms: All rows.
        against: Name of the row that the others are paired with, seed by seed.

    Returns:
        The accuracies of each row that was printed.
    """
    found = {}
    (named,) = [arm for arm in arms if arm.name == against]
    reference = laboratory.accuracies(named)
    print(f"| | test accuracy % | lowest to highest | minus {against} | p |")
    print("|---|---|---|---|---|")
    for arm in wanted:
        name, accuracies = arm.name, laboratory.accuracies(arm)
        found[name] = accuracies
        differences = [a - b for a, b in zip(accuracies, reference, strict=True)]
        paired = "" if name == against else f"{_spread(differences, sign='+')}"
        p = "" if name == against else f"{sign_flip_p(differences):.2f}"
        row = f"| {name} | {_spread(accuracies)} | {min(accuracies):.1f} to {max(accuracies):.1f}"
        print(f"{row} | {paired} | {p} |", flush=True)
    return found


def _spread(values: Sequence[float], *, sign: str = "") -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.1f} ± {deviation:.1f}"
