"""Bytes of logits that are unlike a usual teacher's, in `compact` and as float16 in two ways.

Narrow, constant or huge logits, few or many classes, sorted samples, hardly any records: each goes
through the real writer twice, as `compact` at its default and as `half`. What is printed are the
bytes of the shards, checksums and the index of each shard included, and those of the bare float16
numbers; the metadata of the array is stated apart. The logits are drawn, none is a real teacher's.

    python -m bench.odd_logits
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.fidelity import measure_fidelity
from bench.real_logits import Logits
from bench.recorded_logits import Source, write_recording
from kdrec.store import plan_encoding

_FLOAT16_MOST = 65000.0


@dataclass(frozen=True, slots=True)
class OddSizes:
    """Bytes of one set of logits.

    Attributes:
        compact: Of its shards.
        half: The same, as float16 with byte shuffle and zstd.
        numbers: Of the float16 numbers alone.
        metadata: Of the array, in `compact`.
        divergence: The greatest mean divergence of `compact`, of those at temperatures 1 and 4.
    """

    compact: int
    half: int
    numbers: int
    metadata: int
    divergence: float


def odd_logits() -> Mapping[str, Logits]:
    """Views x samples x classes, by what is odd about them."""
    usual_VSC = _draw(8, 512, 40)
    huge_VSC = usual_VSC * (_FLOAT16_MOST / np.abs(usual_VSC).max())
    by_class_S = usual_VSC[0].argmax(axis=1).argsort(kind="stable")
    return {
        "usual": usual_VSC,
        "narrow, within 7 of 0": np.clip(usual_VSC, -7, 7),
        "10 classes": _draw(8, 512, 10),
        "1,000 classes": _draw(2, 64, 1000),
        "constant": np.full((8, 512, 40), 3.5, dtype=np.float32),
        "huge, to 65,000": huge_VSC.astype(np.float32),
        "huge, to 2 million": (32 * huge_VSC).astype(np.float32),
        "huge, to 260 million": (4000 * huge_VSC).astype(np.float32),
        "samples sorted by class": np.ascontiguousarray(usual_VSC[:, by_class_S]),
        "one sample": _draw(8, 1, 40),
        "one view": _draw(1, 512, 40),
        "one record of 40 classes": _draw(1, 1, 40),
        "one record of 10 classes": _draw(1, 1, 10),
        "one record of 2 classes": _draw(1, 1, 2),
    }


def _draw(views: int, samples: int, classes: int) -> Logits:
    """A few directions common to all views of a sample, and noise."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(6, classes))
    common_SC = 3 * generator.normal(size=(samples, 6)) @ mixing
    noise_VSC = 0.7 * generator.normal(size=(views, samples, classes))
    return (common_SC + noise_VSC).astype(np.float32)


def measure_odd(folder: Path, logits_VSC: Logits) -> OddSizes:
    """Write them twice; what float16 cannot hold is scaled down for `half`."""
    folder.mkdir()
    scaled = min(1.0, _FLOAT16_MOST / max(float(np.abs(logits_VSC).max()), 1.0))
    reader = write_recording(folder / "c.zarr", Source.of(logits_VSC), plan_encoding("compact"))
    half_VSC = (logits_VSC * scaled).astype(np.float32)
    write_recording(folder / "h.zarr", Source.of(half_VSC), plan_encoding("half"))
    decoded = np.stack([reader.read(view)[1] for view in range(len(logits_VSC))])
    classes = logits_VSC.shape[2]
    found = measure_fidelity(logits_VSC.reshape(-1, classes), decoded.reshape(-1, classes))
    return OddSizes(
        compact=_shard_bytes(folder / "c.zarr"),
        half=_shard_bytes(folder / "h.zarr"),
        numbers=2 * logits_VSC.size,
        metadata=(folder / "c.zarr" / "logits" / "zarr.json").stat().st_size,
        divergence=max(*found.forward, *found.reverse),
    )


def _shard_bytes(recording: Path) -> int:
    shards = (recording / "logits" / "c").rglob("*")
    return sum(path.stat().st_size for path in shards if path.is_file())


def main() -> None:
    """Run and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"{'':30}{'records':>8}{'compact':>10}{'half':>10}{'float16':>10}{'of half':>9}{'KL':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, logits_VSC) in enumerate(odd_logits().items()):
            sizes = measure_odd(Path(folder) / str(number), logits_VSC)
            records = logits_VSC.shape[0] * logits_VSC.shape[1]
            print(f"{name:30}{records:8,}{sizes.compact:10,}{sizes.half:10,}{sizes.numbers:10,}"
                  f"{sizes.compact / sizes.half:9.2f}{sizes.divergence:9.1e}")  # fmt: skip
    print(f"The array's metadata have {sizes.metadata:,} bytes more.")


if __name__ == "__main__":
    main()
