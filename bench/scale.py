"""A long recording: what writing, opening, reading and inspecting it cost.

A fake teacher answers with logits drawn from a real one's; the real writer records them. Time
spent drawing is left out of the writer's rate. Rates are given by the clock and by CPU time: the
latter is what one core gives, whatever else the machine does.

    python -m bench.scale --data DATA [--samples 52224] [--views 16] [--block-samples N]
        [--max-kl 2.5e-4] [--runs 5] [--read-views N] [--folder KEEP]

`--samples 1000000 --views 100` makes 2,002 blocks and 2.9 GB, in a quarter of an hour of CPU time;
proof records are drawn by themselves there, so that the fidelity that `kdrec inspect` shows of such
a recording means nothing. `--folder` keeps it; the same command then continues it, or measures it
again. `--samples 4928 --views 100 --block-samples 32` has as many blocks, of few records.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.real_logits import DrawnLogits, load_views
from bench.recorded_logits import (
    Source,
    begin_recording,
    draw_parameters,
    measure_sizes,
    plan_recording,
)
from kdrec.client import open_recording
from kdrec.store import (
    BlockGrid,
    LocalStorage,
    Plan,
    RecordingWriter,
    check_same_plan,
    plan_encoding,
)


@dataclass(slots=True)
class Stopwatch:
    """Seconds by the clock and of CPU time.

    Attributes:
        wall: By the clock.
        cpu: Of all threads of this process and of those that it started and waited for.
    """

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what the block takes."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.cpu += _cpu_seconds() - cpu

    def rate(self, count: int) -> str:
        """So many records in this time."""
        return f"{count / self.wall:,.0f} records/s, {count / self.cpu:,.0f} a CPU second"


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=52224)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--block-samples", type=int)
    parser.add_argument("--max-kl", type=float, default=2.5e-4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--read-views", type=int)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    teacher = DrawnLogits(load_views(options.data), seed=1)
    source = fake_source(teacher, views=options.views, samples=options.samples)
    encoding = plan_encoding("compact", max_kl=options.max_kl)
    plan = plan_recording(source, encoding, block_samples=options.block_samples)
    grid = BlockGrid.of(plan)
    blocks = f"{len(grid):,} blocks of {plan.group} views x {plan.block_samples:,} samples"
    print(f"{grid.samples:,} samples x {grid.views} views x {source.classes} classes, {blocks}")
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.folder or Path(temporary)) / "long.zarr"
        print_writing(path, plan, source)
        print_sizes(path, grid.views * grid.samples)
        print_times("open", lambda: open_recording(path), options.runs)
        print_reading(path, grid, views=options.read_views or grid.views)
        command = [sys.executable, "-m", "kdrec.cli", "inspect", str(path)]
        print_times("kdrec inspect, the whole program", lambda: _run(command), options.runs)
        print_times("the same without a recording", lambda: _run([*command[:3], "--help"]),
                    options.runs)  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"greatest memory of this process: {peak:,.0f} MiB")


def fake_source(drawn: DrawnLogits, *, views: int, samples: int) -> Source:
    """A teacher that answers at once; the encoding is fitted to records drawn as the blocks are.

    Args:
        drawn: What it answers.
        views: V.
        samples: S.
    """
    return Source(
        views=views,
        samples=samples,
        classes=drawn.classes,
        block=lambda b: drawn.block(b.group, b.part, views=len(b.views), samples=len(b.samples)),
        # Block numbers of their own: proof records drawn anew, not the first block's.
        records=lambda views_M, _: drawn.block(views, samples, 1, views=1, samples=len(views_M))[0],
    )


def print_writing(path: Path, plan: Plan, source: Source) -> None:
    """Begin or continue; commit every block that is not there, and seal."""
    writer = RecordingWriter(LocalStorage(path), where=str(path))
    existing = writer.prepare()
    if existing is None:
        writer = begin_recording(path, plan, source)
    else:
        check_same_plan(existing.plan, plan, where=str(path))
        writer.resume(existing)
    committed = writer.committed()
    missing = [block for block in BlockGrid.of(plan) if block.name not in committed]
    watch = Stopwatch()
    for block in missing:
        logits_GSC = source.block(block)
        with watch.running():
            writer.commit(block, draw_parameters(plan, block), logits_GSC, correct=None)
    if not missing:
        print("found, whole; nothing was written")
        return
    with watch.running():
        writer.seal()
    records = sum(len(block.views) * len(block.samples) for block in missing)
    print(f"{records:,} records written and sealed in {watch.wall:.1f} s: {watch.rate(records)}")


def print_sizes(path: Path, records: int) -> None:
    """Bytes by what they are for."""
    sizes = measure_sizes(path)
    for name in (*type(sizes).__slots__, "total"):
        value = getattr(sizes, name)
        print(f"  {name:12}{value:15,} B{value / records:12.4f} B a record")


def print_reading(path: Path, grid: BlockGrid, *, views: int) -> None:
    """The first views, one after the other, in shuffled batches of 256."""
    recording = open_recording(path)
    order = np.random.Generator(np.random.PCG64(0)).permutation(grid.samples)
    batches = np.array_split(order, max(1, grid.samples // 256))
    watch = Stopwatch()
    with watch.running():
        for view in range(views):
            for batch in batches:
                recording.read(view, batch)
    print(f"{views} views read in shuffled batches of 256, each block checked and decoded once: "
          f"{watch.rate(views * grid.samples)}")  # fmt: skip


def print_times(name: str, run: Callable[[], object], runs: int) -> None:
    """Print least, median and greatest milliseconds, by the clock and of CPU time."""
    wall, cpu = [], []
    for _ in range(runs):
        watch = Stopwatch()
        with watch.running():
            run()
        wall.append(1e3 * watch.wall)
        cpu.append(1e3 * watch.cpu)
    print(f"{name}: {_spread(wall)} ms, {_spread(cpu)} of CPU time")


def _spread(taken: Sequence[float]) -> str:
    return f"{min(taken):,.1f} / {statistics.median(taken):,.1f} / {max(taken):,.1f}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
