"""A float16 memory map: the least that anything could do; no parameters, no check."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.peers.records import Epochs, Records, orders


def write(records: Records, folder: Path) -> None:
    """One flat file of logits, one of parameters."""
    folder.mkdir()
    records.logits_VSC.astype(np.float16).tofile(folder / "logits.f16")
    records.params_VSP.tofile(folder / "params.f32")
    shapes = records.logits_VSC.shape, records.params_VSP.shape
    (folder / "shapes.json").write_text(json.dumps(shapes))


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Logits to float32 and parameters, gathered batch by batch."""
    logits, params = json.loads((folder / "shapes.json").read_text())
    logits_VSC = np.memmap(folder / "logits.f16", np.float16, "r", shape=tuple(logits))
    params_VSP = np.memmap(folder / "params.f32", np.float32, "r", shape=tuple(params))

    views, samples, _ = logits

    def epochs(run: int) -> Iterator[int]:
        for view, index in orders(views, samples, batch, shuffled=shuffled, run=run):
            logits_VSC[view, index].astype(np.float32)
            np.array(params_VSP[view, index])
            yield len(index)

    return epochs
