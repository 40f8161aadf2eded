"""A small recording, and a server that has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdrec.testing import make_recording
from tests.promises.test_one_reader import serving


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed recording; not to be changed."""
    path = tmp_path_factory.mktemp("served") / "r.zarr"
    make_recording(path)
    return path


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    """The address of `path` behind a server."""
    with serving(path.parent) as address:
        yield f"{address}/r"
