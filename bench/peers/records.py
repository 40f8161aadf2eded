"""The records that every way keeps: plain arrays in a folder, numpy only.

Shape letters: V views, S samples, C classes, P parameters, N points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Record = dict[str, npt.NDArray[Any]]


class Epochs(Protocol):
    """An opened way."""

    def __call__(self, run: int) -> Iterator[int]:
        """Read once through everything; gives the records of every batch that it has read."""


@dataclass(frozen=True, slots=True)
class Records:
    """Parameters and logits of every view and sample, maybe with points as the teacher saw them.

    Attributes:
        logits_VSC: float32.
        params_VSP: float32.
        seen_VSN3: float32, None where only logits are read.
    """

    logits_VSC: Floats
    params_VSP: Floats
    seen_VSN3: Floats | None = None

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        folder.mkdir()
        np.save(folder / "logits.npy", self.logits_VSC)
        np.save(folder / "params.npy", self.params_VSP)
        if self.seen_VSN3 is not None:
            np.save(folder / "seen.npy", self.seen_VSN3)

    @classmethod
    def load(cls, folder: Path) -> "Records":
        """Mapped, as `save` wrote them."""

        def mapped(name: str) -> Floats:
            return np.asarray(np.load(folder / name, mmap_mode="r"))

        seen = mapped("seen.npy") if (folder / "seen.npy").exists() else None
        return cls(mapped("logits.npy"), mapped("params.npy"), seen)

    def __len__(self) -> int:
        views, samples, _ = self.logits_VSC.shape
        return int(views * samples)

    def record(self, number: int) -> Record:
        """One record, views after each other: logits in float16, the rest in float32."""
        view, sample = divmod(number, self.logits_VSC.shape[1])
        found: Record = {
            "params": np.array(self.params_VSP[view, sample]),
            "logits": self.logits_VSC[view, sample].astype(np.float16),
        }
        if self.seen_VSN3 is not None:
            found["points"] = np.array(self.seen_VSN3[view, sample])
        return found


def orders(
    views: int, samples: int, batch: int, *, shuffled: bool, run: int
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """View after view, the samples of each batch in one order for all ways that take numbers."""
    draw = np.random.Generator(np.random.PCG64(run))
    for view in range(views):
        order = draw.permutation(samples) if shuffled else np.arange(samples)
        for start in range(0, samples, batch):
            yield view, order[start : start + batch]
