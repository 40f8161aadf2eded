"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clouds, teachers and logits; the test is skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KDREC_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set KDREC_TEST_DATA to their folder")
    return folder
