"""A long recording: what writing, opening, reading and inspecting it cost.

A fake teacher answers with logits drawn from a real one's; the real writer records them. Time
spent drawing is left out of the writer's rate. A million samples x 100 views have 2,002 blocks of
the default size: `--samples 4928 --views 100 --block-samples 32` has as many, and so shows what
opening and inspecting cost there; the default shows the rates.

    python -m bench.scale --data DATA [--samples 52224] [--views 16] [--block-samples N]
        [--max-kl 2.5e-4] [--runs 5]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.real_logits import DrawnLogits, Logits, load_views
from bench.recorded_logits import (
    Source,
    begin_recording,
    draw_parameters,
    measure_sizes,
    plan_recording,
)
from kdrec.client import open_recording
from kdrec.store import Block, BlockGrid, Plan, RecordingWriter, plan_encoding


@dataclass(slots=True)
class FakeTeacher:
    """Answers at once, with logits drawn from a real teacher's; counts its own time.

    Attributes:
        drawn: The logits.
        seconds: Spent drawing so far.
    """

    drawn: DrawnLogits
    seconds: float = 0.0

    def block(self, block: Block) -> Logits:
        """The logits of a block."""
        started = time.perf_counter()
        found = self.drawn.block(
            block.group, block.part, views=len(block.views), samples=len(block.samples)
        )
        self.seconds += time.perf_counter() - started
        return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=52224)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--block-samples", type=int)
    parser.add_argument("--max-kl", type=float, default=2.5e-4)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    real_VSC = load_views(options.data)
    teacher = FakeTeacher(DrawnLogits(real_VSC, seed=1))
    source = fake_source(real_VSC, teacher, views=options.views, samples=options.samples)
    encoding = plan_encoding("compact", max_kl=options.max_kl)
    plan = plan_recording(source, encoding, block_samples=options.block_samples)
    grid = BlockGrid.of(plan)
    records = grid.views * grid.samples
    blocks = f"{len(grid):,} blocks of {plan.group} views x {plan.block_samples:,} samples"
    print(f"{grid.samples:,} samples x {grid.views} views x {source.classes} classes, {blocks}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.zarr"
        writer = begin_recording(path, plan, source)
        seconds = write_blocks(writer, plan, teacher)
        print(f"written and sealed in {seconds:.1f} s: {records / seconds:,.0f} records/s")
        sizes = measure_sizes(path)
        for name in (*type(sizes).__slots__, "total"):
            value = getattr(sizes, name)
            print(f"  {name:12}{value:15,} B{value / records:12.4f} B a record")
        print_times("open", lambda: open_recording(path), options.runs)
        print_reading(path, grid)
        command = [sys.executable, "-m", "kdrec.cli", "inspect", str(path)]
        print_times("kdrec inspect, the whole program", lambda: _run(command), options.runs)
        print_times("the same without a recording", lambda: _run([*command[:3], "--help"]),
                    options.runs)  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"greatest memory of this process: {peak:,.0f} MiB")


def fake_source(real_VSC: Logits, teacher: FakeTeacher, *, views: int, samples: int) -> Source:
    """The teacher as a source; the encoding is fitted to records drawn as the blocks' are."""
    proofs = DrawnLogits(real_VSC, seed=2)
    return Source(
        views=views,
        samples=samples,
        classes=real_VSC.shape[2],
        block=teacher.block,
        records=lambda views_M, _: proofs.block(0, views=1, samples=len(views_M))[0],
    )


def write_blocks(writer: RecordingWriter, plan: Plan, teacher: FakeTeacher) -> float:
    """Commit every block and seal; seconds without the teacher's."""
    started = time.perf_counter()
    for block in BlockGrid.of(plan):
        writer.commit(block, draw_parameters(plan, block), teacher.block(block), correct=None)
    writer.seal()
    return time.perf_counter() - started - teacher.seconds


def print_reading(path: Path, grid: BlockGrid) -> None:
    """Every view from the first to the last, in shuffled batches of 256."""
    recording = open_recording(path)
    order = np.random.Generator(np.random.PCG64(0)).permutation(grid.samples)
    batches = np.array_split(order, max(1, grid.samples // 256))
    started = time.perf_counter()
    for view in range(grid.views):
        for batch in batches:
            recording.read(view, batch)
    seconds = time.perf_counter() - started
    print(f"read in shuffled batches of 256, each block checked and decoded once: "
          f"{grid.views * grid.samples / seconds:,.0f} records/s")  # fmt: skip


def print_times(name: str, run: Callable[[], object], runs: int) -> None:
    """Print least, median and greatest milliseconds."""
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - started))
    print(f"{name}: {min(taken):,.1f} / {statistics.median(taken):,.1f} / {max(taken):,.1f} ms")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
