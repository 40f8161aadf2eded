"""litdata: its optimized chunks, read by its own data set and loader."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import litdata  # type: ignore[import-not-found]

from bench.peers.records import Epochs, Records


def write(records: Records, folder: Path) -> None:
    """Chunks of its usual size, by one worker."""
    litdata.optimize(
        fn=partial(_record, records),
        inputs=list(range(len(records))),
        output_dir=str(folder),
        chunk_bytes="64MB",
        num_workers=1,
    )


def _record(records: Records, number: int) -> dict[str, object]:
    return dict(records.record(number))


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """In its own shuffled order, or as written."""
    dataset = litdata.StreamingDataset(str(folder), shuffle=shuffled)
    loader = litdata.StreamingDataLoader(dataset, batch_size=batch)

    def epochs(run: int) -> Iterator[int]:
        for found in loader:
            found["logits"].float()
            yield len(found["logits"])

    return epochs
