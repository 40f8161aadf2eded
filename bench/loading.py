"""Points and logits through a loader: kdrec, tensors in memory, and the streaming libraries.

Every way is read in a process of its own, one after another, by one thread without workers. kdrec
and the tensors hold each cloud once and replay the view, with and without an augmentation; the
libraries hold every view's clouds as the teacher saw them. They run in an environment of their own,
which is made on the first call, or in the one given; one that fails is shown with its reason, and
--no-peers leaves them out. Beside it, what a batch takes of a training step of the smallest
registered student. A CPU second is one of processor time, over all threads.

    python -m bench.loading [--data DATA] [--samples 2048] [--points 1024] [--views 4]
        [--batch 256] [--runs 5] [--seconds 1] [--environment FOLDER] [--no-peers]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.peers.job import Answer
from bench.peers.options import make_parser
from bench.peers.recorded_views import CLOUDS
from bench.peers.source import as_records, teacher_logits, write_recording
from bench.peers.table import Row, peer_rows, print_table, shown
from kdrec.models import count_parameters, find_model, list_models
from kdrec.samples import make_shapes

_CLASSES = 40
_REPLAYED = "kdrec, batches", "in memory"
_PLAIN = "kdrec, batches, no augmentation", "in memory, no augmentation"


def main() -> None:
    """Write, read and print."""
    parser = make_parser(__doc__, samples=2048, views=4)
    parser.add_argument("--points", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = _written(Path(name), options)
        answers = {
            row.name: row.measure(
                "shuffled", batch=options.batch, runs=options.runs, seconds=options.seconds
            )
            for row in rows
        }
    print(f"{options.views} views x {options.samples:,} clouds of {options.points} points, "
          f"{_CLASSES} logits, shuffled batches of {options.batch}; "
          f"least / median / greatest of {options.runs} runs")  # fmt: skip
    print_table(
        ("way", "k samples/s", "k samples/CPU s", "ratio to in memory", "memory, MiB"),
        [_shown(name, answer, answers) for name, answer in answers.items()],
    )
    _print_wait(answers[_REPLAYED[0]], options)


def _written(work: Path, options: argparse.Namespace) -> list[Row]:
    clouds_SN3 = make_shapes(options.samples, seed=0, num_points=options.points).points_SND
    logits_VSC = teacher_logits(options.data, views=options.views, samples=options.samples)
    replayed, plain, source = work / "kdrec", work / "plain", work / "source"
    recording = write_recording(replayed, logits_VSC)
    write_recording(plain, logits_VSC, augmented=False)
    for folder in (replayed, plain):
        np.save(folder / CLOUDS, clouds_SN3)
    as_records(recording, logits_VSC, clouds_SN3).save(source)
    return [
        Row(_REPLAYED[0], "kdrec, batches", replayed),
        Row("kdrec, samples stacked by the loader", "kdrec, samples", replayed),
        Row(_REPLAYED[1], "in memory", replayed),
        Row(_PLAIN[0], "kdrec, batches", plain),
        Row(_PLAIN[1], "in memory", plain),
        *([] if options.no_peers else peer_rows(source, work, options.environment)),
    ]


def _shown(name: str, answer: Answer, answers: dict[str, Answer]) -> tuple[str, ...]:
    if answer.error:
        return name, f"failed: {answer.error}", "", "", ""
    beside = answers[_PLAIN[1] if name in _PLAIN else _REPLAYED[1]]
    ratio = "" if beside.error else f"{_median(answer) / _median(beside):.2f}"
    memory = f"{answer.memory / 2**20:,.0f}"
    return name, shown(answer.rates), shown(answer.busy_rates), ratio, memory


def _median(answer: Answer) -> float:
    return statistics.median(answer.rates)


def _print_wait(answer: Answer, options: argparse.Namespace) -> None:
    if answer.error:
        return
    networks = [info for info in list_models() if info.task == "classification"]
    sizes = {info.name: count_parameters(info.build(num_classes=_CLASSES)) for info in networks}
    smallest = min(sizes, key=sizes.__getitem__)
    step = _step_seconds(smallest, options)
    wait = options.batch / _median(answer)
    print(f"a batch of kdrec's takes {1e3 * wait:.2f} ms, a step of {smallest} "
          f"({sizes[smallest]:,} parameters) {1e3 * step:,.0f} ms: "
          f"{100 * wait / (wait + step):.2f} % of the time is spent waiting for data")  # fmt: skip


def _step_seconds(name: str, options: argparse.Namespace) -> float:
    """Forward, backward and update of one batch; the median after one that does not count."""
    draw = torch.Generator().manual_seed(0)
    points_BN3 = torch.randn(options.batch, options.points, 3, generator=draw)
    target_BC = torch.randn(options.batch, _CLASSES, generator=draw).softmax(dim=1)
    network = find_model(name).build(num_classes=_CLASSES)
    optimizer = torch.optim.AdamW(network.parameters())
    taken = []
    for _ in range(options.runs + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(points_BN3), target_BC)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
