"""What all tests share."""

import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.azure import AzureServer, azure_server
from tests.buckets import S3Server, s3_server

# There are as many workers as cores, and more. Before anybody imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else processes that load torch again
# How long an example takes is the machine's affair: no test asserts a time.
settings.register_profile("kdrec", deadline=None)
settings.load_profile("kdrec")


def pytest_configure() -> None:
    """Let children hear Ctrl-C: who is started in the background of a script inherits deafness.

    And wait for no disk: what is killed here is a process, and never the machine.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.fsync = lambda fd: None


_LONG = frozenset({"promises", "docker", "docs", "cli", "tests"})  # folders with whole programs
_LONGEST = frozenset({"test_training", "test_onnx_teacher", "test_object_stores", "test_compiled"})


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no worker is left alone with it at the end."""
    items.sort(
        key=lambda item: (item.path.stem not in _LONGEST, item.path.parent.name not in _LONG)
    )


def pytest_collection_finish() -> None:
    """What the imports left is there for good, and need not be looked through again and again."""
    gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clouds, teachers and logits; the test is skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KDREC_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set KDREC_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A server of the S3 protocol, in a process of its own."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, with the environment to use it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.make_bucket(f"bucket-{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def azure() -> Iterator[AzureServer | None]:
    """A server of Azure's blob protocol, in a process of its own; None where there is none."""
    with azure_server() as server:
        yield server


@pytest.fixture
def container(azure: AzureServer | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty container, with the environment to use it."""
    if azure is None:
        pytest.skip("azurite-blob is not on the path: npm install azurite")
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    return azure.make_container(f"container-{uuid.uuid4().hex}")
