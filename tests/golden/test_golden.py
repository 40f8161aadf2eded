"""Recordings of every format version are read as they were written."""

import json
from pathlib import Path

import pytest

from kdrec.store import LocalStorage, RecordingReader, verify_bytes
from tests.golden.make import described

HERE = Path(__file__).parent
GOLDEN = sorted(HERE.glob("version*/*.zarr"))


def test_there_are_some_of_every_encoding() -> None:
    assert {path.stem for path in GOLDEN} >= {"compact", "portable", "exact", "half"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_golden_recording_is_whole_and_reads_as_it_was_written(path: Path) -> None:
    known = json.loads((path.parent / "described.json").read_text())
    assert described(path) == known[path.stem]
    storage = LocalStorage(path)
    *_, report = verify_bytes(RecordingReader(storage, where=path.name), storage)
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])
    assert report.proof_checked == report.proof_records
