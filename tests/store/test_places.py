"""Where a recording can be written."""

from pathlib import Path

import pytest

from kdrec.client import ConvertRequest, convert, fetch, open_recording
from kdrec.errors import InvalidInputError
from kdrec.store import open_place
from kdrec.testing import make_recording


def test_nothing_is_written_within_a_recording(tmp_path: Path) -> None:
    outer = tmp_path / "outer.zarr"
    make_recording(outer)
    before = sorted(outer.rglob("*"))
    source = open_recording(outer)
    for inner in (outer / "inner.zarr", outer / "logits" / "c" / "inner.zarr"):
        refused = f"{inner} lies within the recording {outer}, .*give a folder outside of it"
        with pytest.raises(InvalidInputError, match=refused):
            open_place(inner)
        with pytest.raises(InvalidInputError, match=refused):
            list(convert(source, inner, ConvertRequest()))
        with pytest.raises(InvalidInputError, match=refused):
            list(fetch("http://127.0.0.1:9/v1/recordings/r", inner))
    assert sorted(outer.rglob("*")) == before
    open_place(tmp_path / "beside.zarr")
    (tmp_path / "apart.zarr").mkdir()
    make_recording(tmp_path / "apart.zarr")
    (tmp_path / "apart.zarr").rename(outer / "moved.zarr")
    open_place(outer / "moved.zarr")  # to be verified, repaired
