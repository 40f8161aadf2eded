"""What an epoch costs, in time and memory, with labels alone, a live teacher and a recorded one.

Each training runs in a process of its own, the three in turn, several times; the first epoch is
left out. Printed are seconds an epoch and the most memory a process held, as minimum, median,
maximum, and after how many epochs, over all students, the recording has paid for itself.

    python -m bench.distillation.costs --data FOLDER --work FOLDER [--points 256] [--rounds 3]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.distillation.clouds import Clouds, LiveTeacher, one_thread
from kdrec.student import BatchSource, RecordedViews, TrainSettings, train

_KINDS = ("labels only", "live teacher", "recorded teacher")
_EPOCHS = 4


def _measure(clouds: Clouds, kind: str) -> dict[str, float]:
    """Of one training in this process."""
    source: BatchSource
    if kind == "live teacher":
        source = LiveTeacher(clouds, seed=0)
    else:
        source = RecordedViews(clouds.recorded("exact"))
    settings = TrainSettings(
        epochs=_EPOCHS, threads=1, device="cpu", labels_only=kind == "labels only"
    )
    with tempfile.TemporaryDirectory() as folder:
        result = train(source, settings, Path(folder))
    seconds = [epoch.seconds for epoch in result.epochs[1:]]
    return {"seconds": statistics.median(seconds), "bytes": result.peak_memory_bytes}


def _in_a_process(options: argparse.Namespace, kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.distillation.costs", "--kind", kind]
    for name in ("data", "work", "points", "views"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _seconds_to_record(clouds: Clouds) -> float:
    """Of one view, probes and proof included, shared by all views."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        fresh = replace(clouds, work=Path(folder))
        _ = fresh.train, fresh.teacher()
        started = time.perf_counter()
        fresh.recording("exact")
        return (time.perf_counter() - started) / clouds.views


def _print_row(name: str, values: Sequence[float], unit: str) -> None:
    shown = " ".join(f"{value:8.2f}" for value in _range(values))
    print(f"{name:44}{shown} {unit}", flush=True)


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=_KINDS)
    options = parser.parse_args()
    clouds = Clouds(options.data, options.work, points=options.points, views=options.views)
    if options.kind:
        print(json.dumps(_measure(clouds, options.kind)))
        return
    clouds.work.mkdir(parents=True, exist_ok=True)
    clouds.recording("exact")
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    for _ in range(options.rounds):
        for kind in _KINDS:
            found[kind].append(_in_a_process(options, kind))
    print(f"{options.points} points, 1 thread, {options.rounds} rounds{'min':>24}{'median':>9}"
          f"{'max':>9}")  # fmt: skip
    for kind, trainings in found.items():
        _print_row(f"{kind}, an epoch", [t["seconds"] for t in trainings], "s")
        _print_row(f"{kind}, most memory", [t["bytes"] / 2**20 for t in trainings], "MiB")
    live, recorded = (statistics.median(t["seconds"] for t in found[kind]) for kind in _KINDS[1:])
    view = _seconds_to_record(clouds)
    print(f"recording a view: {view:.2f} s; a recording of V views has paid for itself after "
          f"{view / (live - recorded):.2f} V epochs of students")  # fmt: skip


if __name__ == "__main__":
    main()
