"""Two Zarr arrays as `zarr.create_array` makes them: its own chunks and codecs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from bench.peers.records import Epochs, Records, orders


def write(records: Records, folder: Path) -> None:
    """Logits in float16, parameters in float32."""
    group = zarr.create_group(folder)
    group.create_array("logits", data=records.logits_VSC.astype(np.float16))
    group.create_array("params", data=np.array(records.params_VSP))


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Each batch by orthogonal indexing where it is shuffled, else by a slice."""
    group: Any = zarr.open_group(folder, mode="r")
    arrays = group["logits"], group["params"]

    views, samples, _ = group["logits"].shape

    def epochs(run: int) -> Iterator[int]:
        for view, index in orders(views, samples, batch, shuffled=shuffled, run=run):
            rows: Any = index if shuffled else slice(index[0], index[-1] + 1)
            for array in arrays:
                np.asarray(array.oindex[view, rows], dtype=np.float32)
            yield len(index)

    return epochs
