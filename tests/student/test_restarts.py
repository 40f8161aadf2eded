"""Stopped before any batch and continued in a fresh process: the rest of the stream unchanged."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import pytest
import torch

from kdrec.client import open_recording
from kdrec.student import RecordedBatch, RecordedLoader, RecordedViews
from kdrec.testing import make_plan, make_recording
from tests.programs import FORKING, service
from tests.student.recordings import make_samples

Streams: TypeAlias = list[list[str]]
State: TypeAlias = dict[str, int]
BATCH, EPOCHS = 11, 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "r.zarr"
    samples = make_samples()
    make_recording(path, samples, plan=make_plan(samples, views=3, group=2, block_samples=24),
                   num_classes=5)  # fmt: skip
    return path


@pytest.fixture(scope="module", params=["locally", "over HTTP"])
def address(request: pytest.FixtureRequest, recorded: Path) -> Iterator[str]:
    if request.param == "locally":
        yield str(recorded)
        return
    with service(recorded.parent) as url:
        yield f"{url}/r"


def digest(batch: RecordedBatch) -> str:
    """Of every bit of it."""
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in batch)).hexdigest()


def open_loaders(address: str, cache: Path, ranks: int, num_workers: int) -> list[RecordedLoader]:
    return [
        RecordedLoader(
            RecordedViews(open_recording(address, cache=cache)),
            BATCH, seed=1, rank=rank, num_processes=ranks, num_workers=num_workers,
        )
        for rank in range(ranks)
    ]  # fmt: skip


def rest(loader: RecordedLoader) -> Iterator[RecordedBatch]:
    """All that is still to come of a training's epochs."""
    for epoch in range(loader.epoch, EPOCHS):
        loader.set_epoch(epoch)
        yield from loader


def go_on(
    address: str, cache: Path, ranks: int, num_workers: int, state: State, answer: Connection
) -> None:
    """In a process of its own: what each rank still gets."""
    multiprocessing.set_start_method("fork", force=True)  # of workers, as wherever a user begins
    torch.set_num_threads(1)
    loaders = open_loaders(address, cache, ranks, num_workers)
    for loader in loaders:
        loader.load_state_dict(state)
    answer.send([[digest(batch) for batch in rest(loader)] for loader in loaders])


def in_a_fresh_process(
    address: str, cache: Path, ranks: int, num_workers: int, state: State
) -> Streams:
    here, there = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=go_on, args=(address, cache, ranks, num_workers, state, there))
    process.start()
    there.close()
    streams: Streams = here.recv()
    process.join()
    here.close()
    assert process.exitcode == 0
    return streams


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_state_saved_before_every_batch_gives_the_rest_unchanged(
    tmp_path: Path, address: str, ranks: int, num_workers: int
) -> None:
    loaders = open_loaders(address, tmp_path, ranks, num_workers)
    whole: Streams = []
    saved: list[list[State]] = []
    for loader in loaders:
        states, digests = [loader.state_dict()], []
        for batch in rest(loader):
            digests.append(digest(batch))
            states.append(loader.state_dict())
        whole.append(digests)
        saved.append(states)
    assert saved == [saved[0]] * ranks
    assert len({*whole[0]}) == len(whole[0]) == 2 * len(loaders[0])
    # Every batch of the first epoch, the end of the epoch, and the first batch of the second; with
    # workers, which take their time to start, every third.
    numbered = list(enumerate(saved[0][: len(loaders[0]) + 2]))
    for done, state in numbered[:: 1 + num_workers]:
        found = in_a_fresh_process(address, tmp_path, ranks, num_workers, state)
        assert found == [stream[done:] for stream in whole]
