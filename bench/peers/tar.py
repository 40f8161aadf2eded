"""webdataset: tar files of arrays, shuffled by its buffer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import webdataset  # type: ignore[import-not-found]

from bench.peers.records import Epochs, Records

_SHARD_RECORDS = 10_000
_SHUFFLED_AHEAD = 1000  # the buffer of its own examples


def write(records: Records, folder: Path) -> None:
    """One member an array."""
    folder.mkdir()
    pattern = str(folder / "%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=_SHARD_RECORDS, verbose=0) as writer:
        for number in range(len(records)):
            arrays = {f"{name}.npy": a for name, a in records.record(number).items()}
            writer.write({"__key__": f"{number:08d}", **arrays})


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Shards in order or shuffled, records through the buffer."""
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]

    def epochs(run: int) -> Iterator[int]:
        dataset = webdataset.WebDataset(shards, shardshuffle=len(shards) if shuffled else False)
        if shuffled:
            dataset = dataset.shuffle(_SHUFFLED_AHEAD)
        for found in dataset.decode().batched(batch):
            yield len(np.asarray(found["logits.npy"], dtype=np.float32))

    return epochs
