"""Small recordings, and ways to ask for them: through the app alone, or through a real port."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from kdrec.api import ServiceSettings, create_app
from kdrec.augment import Augmentation, parse_augmentation
from kdrec.store import (
    BlockGrid,
    Classes,
    DataPlan,
    LocalStorage,
    Plan,
    ProofRecords,
    RecordingWriter,
    SampleContents,
    TeacherPlan,
    find_manifest,
    plan_encoding,
)
from tests.api.services import running

Record = Callable[..., None]
Ask = Callable[..., httpx.Response]
VIEWS, SAMPLES, CLASSES, POINTS = 4, 10, 5, 8


def make_plan(seed: int) -> Plan:
    return Plan(
        teacher=TeacherPlan(name="oracle", tensors="0"),
        data=DataPlan(digest="d", num_samples=SAMPLES, num_points=POINTS, channels=("x", "y", "z")),
        augmentation=parse_augmentation("scale=0.9:1.1,rotate_y=15"),
        seed=seed,
        views=VIEWS,
        group=2,
        batch_size=2,
        block_samples=4,
        threads=1,
        encoding=plan_encoding("exact"),
        with_samples=True,
    )


def begin(writer: RecordingWriter, plan: Plan, logits: np.ndarray) -> None:
    generator = np.random.default_rng(1)
    first = np.arange(2)
    writer.begin(
        plan,
        Classes(num_teacher=CLASSES),
        SampleContents(
            digests=np.zeros((SAMPLES, 16), np.uint8),
            sketches=np.zeros((SAMPLES, 16), np.float32),
            labels_S=np.arange(SAMPLES),
            points_SND=generator.normal(size=(SAMPLES, POINTS, 3)).astype(np.float32),
        ),
        ProofRecords(first, first, logits[first, first], np.zeros((2, 8))),
    )


def commit_blocks(
    writer: RecordingWriter, augmentation: Augmentation, logits: np.ndarray, num_blocks: int
) -> None:
    plan = writer.manifest.plan
    for block in list(BlockGrid.of(plan))[len(writer.committed()) : num_blocks]:
        drawn = [
            augmentation.draw(plan.seed, views=view, samples_B=np.asarray(block.samples)).values_BP
            for view in block.views
        ]
        views = slice(block.views.start, block.views.stop)
        samples = slice(block.samples.start, block.samples.stop)
        writer.commit(block, np.stack(drawn), logits[views, samples], correct=None)


@pytest.fixture(scope="session")
def record() -> Record:
    """Record into a folder, or continue there, up to a number of blocks; sealed when complete."""

    def up_to(folder: Path, *, blocks: int = 6, seed: int = 0) -> None:
        storage = LocalStorage(folder)
        writer = RecordingWriter(storage, where=folder.name)
        plan = make_plan(seed)
        there = find_manifest(storage, where=folder.name)
        logits = np.random.default_rng(seed).normal(size=(VIEWS, SAMPLES, CLASSES))
        if there is None:
            begin(writer, plan, logits.astype(np.float32))
        else:
            writer.resume(there)
        augmentation = plan.augmentation
        commit_blocks(writer, augmentation, logits.astype(np.float32), blocks)
        if blocks == len(BlockGrid.of(plan)):
            writer.seal()

    return up_to


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, record: Record) -> Path:
    """A folder with one sealed recording, `mn`; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    record(root / "mn.zarr")
    return root


@pytest.fixture
def root(tmp_path: Path, finished: Path) -> Path:
    """A copy of `finished` that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "recordings"))


@pytest.fixture(scope="session")
def ask() -> Ask:
    """One request to the app over a folder, without a socket; errors come back as answers.

    A folder keeps its app, as it does in a service: what a test changes must be seen all the same.
    """
    apps: dict[Path, FastAPI] = {}

    async def send(root: Path, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        place = root.resolve()
        if place not in apps:
            apps[place] = create_app(ServiceSettings(root=root))
        transport = httpx.ASGITransport(apps[place], raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kdrec") as client:
            return await client.request(method, path, headers=headers)

    def once(
        root: Path, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return asyncio.run(send(root, method, path, headers or {}))

    return once


@pytest.fixture
def serve_folder() -> Iterator[Callable[..., str]]:
    """Serve a folder, with settings, on a free port until the test ends; gives the address."""
    with ExitStack() as stack:
        yield lambda root, **settings: stack.enter_context(running(root, **settings))


@pytest.fixture
def hanging_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path], AbstractContextManager[threading.Event]]:
    """Whoever looks at a file waits while a with statement lasts; tells whether one does."""

    @contextmanager
    def hang_at(hanging: Path) -> Iterator[threading.Event]:
        reached, released, stat = threading.Event(), threading.Event(), os.stat

        def wait(path: Any, *args: Any, **options: Any) -> os.stat_result:
            if str(path) == str(hanging):
                reached.set()
                released.wait(60)
            return stat(path, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", wait)
            try:
                yield reached
            finally:
                released.set()

    return hang_at


@pytest.fixture(scope="session")
def finished_url(finished: Path) -> Iterator[str]:
    """The address of a server over `finished`."""
    with running(finished) as url:
        yield url
