"""Bytes and fidelity of every way to keep a teacher's logits, on those of a real teacher.

kdrec's encodings go through the real writer into a temporary folder, and every byte under `logits/`
counts, with the codec's configuration wherever it stands. The formats of others are re-made from
their descriptions (`bench/peer_formats.py`). Rates are on one core, in memory, on a block of the
default size drawn from the same logits.

    python -m bench.formats --data DATA [--rate-samples 6528] [--runs 3]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.fidelity import Fidelity, measure_fidelity
from bench.peer_formats import PeerFormat, peer_formats
from bench.real_logits import DrawnLogits, Logits, load_clean, load_views
from bench.recorded_logits import (
    Sizes,
    Source,
    measure_sizes,
    project_sizes,
    write_recording,
)
from kdrec.store import EncodingPlan, RecordingReader, find_encoding, plan_encoding
from kdrec.store.arrays import decode_files, encode_shard

ENCODINGS = (
    plan_encoding("compact", max_kl=2.5e-4),
    plan_encoding("compact", max_kl=2.5e-5),
    plan_encoding("portable", max_kl=2.5e-4),
    plan_encoding("portable", max_error=1 / 32),
    plan_encoding("half"),
    plan_encoding("exact"),
)
FINISHED = 300, 9840  # views and samples of the recording that sizes are projected to
HELD_OUT_VIEWS = 6
_SAVED = 0.9  # of the bytes, for what 10 % less would cost


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        name: Of the format.
        num_bytes: A record's logits.
        fidelity: On all records.
        encoded: Records a second on one core; None if not measured.
        decoded: The same, back.
    """

    name: str
    num_bytes: float
    fidelity: Fidelity
    encoded: float | None = None
    decoded: float | None = None

    def __str__(self) -> str:
        found = self.fidelity
        kl = zip(found.forward, found.reverse, strict=True)
        shown = "".join(f" {forward:8.1e} /{reverse:8.1e}" for forward, reverse in kl)
        rates = "".join(f"{'-' if rate is None else f'{rate / 1e3:,.0f}':>9}"
                        for rate in (self.encoded, self.decoded))  # fmt: skip
        return f"{self.name:26}{self.num_bytes:8.2f} {shown}{found.agreement:9.4%}{rates}"


HEADER = (
    f"{'':26}{'B/rec.':>8}  {'KL T=1, both ways':^18} {'KL T=4, both ways':^18}{'top-1':>9}"
    f"{'enc k/s':>9}{'dec k/s':>9}"
)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rate-samples", type=int, default=6528)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    run_on_one_core()
    logits_VSC = load_views(options.data)
    block_GSC = DrawnLogits(logits_VSC).block(0, views=8, samples=options.rate_samples)
    print(f"{logits_VSC.shape[0]} views x {logits_VSC.shape[1]} samples x "
          f"{logits_VSC.shape[2]} classes, all records\n{HEADER}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for number, encoding in enumerate(ENCODINGS):
            path = Path(folder) / f"{number}.zarr"
            print(measure_encoding(path, logits_VSC, encoding, block_GSC, options.runs), flush=True)
    for peer in peer_formats():
        print(measure_peer(peer, logits_VSC, block_GSC, options.runs), flush=True)
    for encoding in ENCODINGS[:2]:
        print_dial(logits_VSC, encoding)
        print(measure_other(load_clean(options.data), encoding))


def run_on_one_core() -> None:
    """Keep this process, with every thread of its libraries, on one core where Linux lets it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measure_encoding(
    path: Path, logits_VSC: Logits, encoding: EncodingPlan, block_GSC: Logits, runs: int
) -> Row:
    """An encoding of kdrec, through the real writer and reader."""
    reader = write_recording(path, Source.of(logits_VSC), encoding)
    return Row(
        f"kdrec {encoding}",
        bytes_per_record(measure_sizes(path), reader),
        measure_fidelity(_records(logits_VSC), _decoded(reader)),
        *encoding_rates(path.with_suffix(".rates"), block_GSC, encoding, runs),
    )


def encoding_rates(
    path: Path, block_GSC: Logits, encoding: EncodingPlan, runs: int
) -> tuple[float, float]:
    """Records a second, a block to its shard and back, checksums and checks of the bound included.

    The writer decodes every block once more before it commits it; that is not in it.
    """
    reader = write_recording(path, Source.of(block_GSC), encoding)
    metadata = (path / "logits" / "zarr.json").read_bytes()
    (block,) = reader.grid
    region, coded = (block.views, block.samples), find_encoding(encoding.name)
    stored = block.shard_key("logits").removeprefix("logits/")

    def encode() -> bytes:
        values = coded.to_stored(block_GSC, encoding, reader.manifest.bound)["logits"]
        return encode_shard(metadata, region, values)

    shard = {stored: encode()}

    def decode() -> object:
        return decode_files(metadata, shard, region, where="the block", remedy="")

    return _rates(encode, decode, block_GSC[..., 0].size, runs)


def measure_peer(peer: PeerFormat, logits_VSC: Logits, block_GSC: Logits, runs: int) -> Row:
    """Someone else's format."""
    records_RC, block_RC = _records(logits_VSC), _records(block_GSC)
    pieces, classes = peer.encode(records_RC), records_RC.shape[1]
    of_block = peer.encode(block_RC)
    return Row(
        peer.name,
        sum(map(len, pieces)) / len(records_RC),
        measure_fidelity(records_RC, peer.decode(pieces, classes)),
        *_rates(
            lambda: peer.encode(block_RC),
            lambda: peer.decode(of_block, classes),
            len(block_RC),
            runs,
        ),
    )


def _rates(
    encode: Callable[[], object], decode: Callable[[], object], records: int, runs: int
) -> tuple[float, float]:
    return records / _least_seconds(encode, runs), records / _least_seconds(decode, runs)


def _least_seconds(run: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def print_dial(logits_VSC: Logits, encoding: EncodingPlan) -> None:
    """What `compact` takes in detail, on records it was not fitted to, and with fewer bytes."""
    print(f"\n{encoding}")
    with tempfile.TemporaryDirectory() as folder:
        reader = write_recording(Path(folder) / "all.zarr", Source.of(logits_VSC), encoding)
        sizes = measure_sizes(Path(folder) / "all.zarr")
        _print_sizes("bytes a record, written", sizes, logits_VSC[..., 0].size)
        longer = project_sizes(sizes, reader.manifest.plan, views=FINISHED[0], samples=FINISHED[1])
        name = f"bytes a record, projected to {FINISHED[0]} views x {FINISHED[1]} samples"
        _print_sizes(name, longer, FINISHED[0] * FINISHED[1])
        print(measure_held_out(Path(folder) / "held-out.zarr", logits_VSC, encoding))
        print(measure_smaller(Path(folder), logits_VSC, encoding, sizes))


def _print_sizes(name: str, sizes: Sizes, records: int) -> None:
    parts = {part: getattr(sizes, part) / records for part in (*Sizes.__slots__, "total")}
    print(f"{name}: " + ", ".join(f"{part} {value:.3f}" for part, value in parts.items()))


def measure_held_out(path: Path, logits_VSC: Logits, encoding: EncodingPlan) -> Row:
    """Fitted to the even samples of some views, written and measured on the odd ones of others."""
    written = np.ascontiguousarray(logits_VSC[HELD_OUT_VIEWS:, 1::2])
    fitted = _records(logits_VSC[:HELD_OUT_VIEWS, ::2])
    reader = write_recording(path, Source.of(written), encoding, fitted_MC=fitted)
    fidelity = measure_fidelity(_records(written), _decoded(reader))
    return Row("held out", bytes_per_record(measure_sizes(path), reader), fidelity)


def measure_other(logits_VSC: Logits, encoding: EncodingPlan) -> Row:
    """Another teacher's logits, a single view of them."""
    with tempfile.TemporaryDirectory() as folder:
        reader = write_recording(Path(folder) / "other.zarr", Source.of(logits_VSC), encoding)
        fidelity = measure_fidelity(_records(logits_VSC), _decoded(reader))
        num_bytes = bytes_per_record(measure_sizes(Path(folder) / "other.zarr"), reader)
    return Row("PointNet, one view", num_bytes, fidelity)


def measure_smaller(
    folder: Path, logits_VSC: Logits, encoding: EncodingPlan, sizes: Sizes, *, tries: int = 4
) -> Row:
    """The divergence at which a tenth of the bytes is saved, by a few secant steps."""
    assert encoding.max_kl is not None
    wanted, known = _SAVED * sizes.logits, [(float(np.log(encoding.max_kl)), sizes.logits)]
    asked = known[0][0] + np.log(1.5)
    for number in range(tries):
        path = folder / f"smaller{number}.zarr"
        coarser = plan_encoding("compact", max_kl=float(np.exp(asked)))
        reader = write_recording(path, Source.of(logits_VSC), coarser)
        known.append((asked, measure_sizes(path).logits))
        (kl0, size0), (kl1, size1) = known[-2:]
        if size1 == size0:
            break
        asked = kl1 + (wanted - size1) * (kl1 - kl0) / (size1 - size0)
    fidelity = measure_fidelity(_records(logits_VSC), _decoded(reader))
    return Row("10 % fewer bytes", bytes_per_record(measure_sizes(path), reader), fidelity)


def bytes_per_record(sizes: Sizes, reader: RecordingReader) -> float:
    """Of the logits, all that belongs to them counted."""
    return sizes.logits / (reader.grid.views * reader.grid.samples)


def _records(logits_VSC: Logits) -> Logits:
    return logits_VSC.reshape(-1, logits_VSC.shape[-1])


def _decoded(reader: RecordingReader) -> Logits:
    return np.concatenate([reader.read(view)[1] for view in range(reader.grid.views)])


if __name__ == "__main__":
    main()
