"""mosaicml-streaming: MDS shards, read by its own data set through torch's loader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from bench.peers.records import Epochs, Record, Records

# torchvision as PyPI has it does not find its operators beside a torch for CPUs and then refuses to
# be imported, which streaming does; declared they are, and nothing here calls them.
_OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _OPERATORS.define(  # type: ignore[no-untyped-call]
            f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )

import streaming  # type: ignore[import-not-found]  # noqa: E402


def write(records: Records, folder: Path) -> None:
    """One shard after another, shapes and types in the index."""
    columns = {name: _column(values) for name, values in records.record(0).items()}
    with streaming.MDSWriter(out=str(folder), columns=columns) as writer:
        for number in range(len(records)):
            writer.write(records.record(number))


def _column(values: Any) -> str:
    return f"ndarray:{values.dtype}:{','.join(str(size) for size in values.shape)}"


def opened(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """In its own shuffled order, or as written."""
    dataset = streaming.StreamingDataset(
        local=str(folder), shuffle=shuffled, batch_size=batch, num_canonical_nodes=1
    )
    loader: DataLoader[Record] = DataLoader(dataset, batch_size=batch)

    def epochs(run: int) -> Iterator[int]:
        for found in loader:
            found["logits"].float()
            yield len(found["logits"])

    return epochs
