"""Parameters and logits of a recording, through kdrec's reader; `bench.peers.source` writes it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers.records import Epochs, orders
from kdrec.client import open_recording
from kdrec.store import LocalStorage, RecordingReader

RECORDING = "recording.zarr"


def decoded_before(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Opened once, and every view decoded before the first run."""
    reader = open_recording(folder / RECORDING).reader
    for view in range(reader.grid.views):
        reader.read(view)
    return _epochs(lambda: reader, batch, shuffled)


def cold(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """Opened anew in each run: files read and checked, views decoded, records gathered."""
    return _epochs(lambda: open_recording(folder / RECORDING).reader, batch, shuffled)


def one_group_kept(folder: Path, batch: int, shuffled: bool) -> Epochs:
    """The same with memory for one decoded view group only."""

    def opened() -> RecordingReader:
        reader = RecordingReader(LocalStorage(folder / RECORDING), where=RECORDING)
        grid, classes = reader.grid, reader.manifest.classes.num_teacher
        record = 4 * (classes + len(reader.manifest.parameters))
        memory = grid.group * grid.samples * record
        return RecordingReader(LocalStorage(folder / RECORDING), where=RECORDING, memory=memory)

    return _epochs(opened, batch, shuffled)


def _epochs(opened: Callable[[], RecordingReader], batch: int, shuffled: bool) -> Epochs:
    def epochs(run: int) -> Iterator[int]:
        reader = opened()
        views, samples = reader.grid.views, reader.grid.samples
        for view, index in orders(views, samples, batch, shuffled=shuffled, run=run):
            reader.read(view, index)
            yield len(index)

    return epochs
