"""A recording that a test may forge."""

import shutil
from pathlib import Path

import pytest

from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, samples = tmp_path_factory.mktemp("genuine") / "r.zarr", make_shapes(20, num_points=32)
    make_recording(path, samples, plan=make_plan(samples, views=3, block_samples=12))
    return path


@pytest.fixture
def forged(genuine: Path, tmp_path: Path) -> Path:
    """A copy to be forged."""
    return Path(shutil.copytree(genuine, tmp_path / "r.zarr"))
