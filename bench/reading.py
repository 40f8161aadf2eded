"""Reading logits and parameters: kdrec, plain arrays, and the streaming libraries, in one table.

Every way keeps the same records and is read in a process of its own, one after another, by one
thread without workers: in shuffled batches, and view after view as they are kept. kdrec's reader,
the memory map and Zarr are asked for numbered samples; the libraries shuffle as they do by
themselves. They run in an environment of their own, which is made on the first call, or in the one
given; one that fails is shown with its reason, and --no-peers leaves them out. Without --data,
logits are made up, which changes the bytes of `compact`. A CPU second is one of processor time, of
all threads; memory is the greatest beyond what the process had before it opened anything.

    python -m bench.reading [--data DATA] [--samples 9840] [--views 16] [--batch 256] [--runs 5]
        [--seconds 1] [--environment FOLDER] [--no-peers]
"""

import argparse
import tempfile
from pathlib import Path

from bench.peers.options import make_parser
from bench.peers.source import as_records, teacher_logits, write_recording
from bench.peers.table import Row, peer_rows, print_table, shown, written_row

_HEADS = (
    "way", "shuffled, k records/s", "k records/CPU s", "view after view, k records/s",
    "k records/CPU s", "memory, MiB", "bytes a record",
)  # fmt: skip
_NOTHING = ("",) * (len(_HEADS) - 2)


def main() -> None:
    """Write, read and print."""
    options = make_parser(__doc__, samples=9840, views=16).parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = _written(Path(name), options)
        print(f"{options.views} views x {options.samples:,} samples x 40 classes, batches of "
              f"{options.batch}; least / median / greatest of {options.runs} runs")  # fmt: skip
        num_records = options.views * options.samples
        print_table(_HEADS, [_measured(row, options, num_records) for row in rows])


def _written(work: Path, options: argparse.Namespace) -> list[Row]:
    logits_VSC = teacher_logits(options.data, views=options.views, samples=options.samples)
    recording = write_recording(work / "kdrec", logits_VSC)
    source = work / "source"
    as_records(recording, logits_VSC).save(source)
    own = Row("", "", work).python
    return [
        Row("kdrec, decoded before", "kdrec", work / "kdrec"),
        Row("kdrec, with opening, checking and decoding", "kdrec, cold", work / "kdrec"),
        Row("the same, one view group kept", "kdrec, one group kept", work / "kdrec"),
        written_row("float16 memory map", "memmap", source, work / "memmap", own),
        written_row("Zarr, default arrays", "zarr", source, work / "zarr", own),
        *([] if options.no_peers else peer_rows(source, work, options.environment)),
    ]


def _measured(row: Row, options: argparse.Namespace, num_records: int) -> tuple[str, ...]:
    answers = [
        row.measure(act, batch=options.batch, runs=options.runs, seconds=options.seconds)
        for act in ("shuffled", "in order")
    ]
    for answer in answers:
        if answer.error:
            return row.name, f"failed: {answer.error}", *_NOTHING
    memory = max(answer.memory for answer in answers) / 2**20
    size = row.num_bytes() / num_records
    rates = [shown(values) for answer in answers for values in (answer.rates, answer.busy_rates)]
    return row.name, *rates, f"{memory:,.0f}", f"{size:.1f}"


if __name__ == "__main__":
    main()
