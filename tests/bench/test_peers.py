"""The benchmarks beside other ways of keeping records: that they run, not how fast."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import loading, reading
from bench.peers.environment import measure
from bench.peers.job import Job
from bench.peers.records import Records, orders
from bench.peers.source import as_records, teacher_logits, write_recording
from bench.peers.table import Row

VIEWS, SAMPLES, BATCH = 3, 40, 16
PYTHON = Path(sys.executable)


def _source(folder: Path) -> Records:
    logits = teacher_logits(None, views=VIEWS, samples=SAMPLES)
    records = as_records(write_recording(folder / "kdrec", logits), logits)
    records.save(folder / "source")
    return records


def test_an_order_holds_every_record_once_and_is_the_same_for_every_way() -> None:
    asked = list(orders(VIEWS, SAMPLES, BATCH, shuffled=True, run=1))
    for view in range(VIEWS):
        index = np.concatenate([index for number, index in asked if number == view])
        assert sorted(index.tolist()) == list(range(SAMPLES))
    again = list(orders(VIEWS, SAMPLES, BATCH, shuffled=True, run=1))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(asked, again, strict=True))


def test_saved_records_are_loaded_as_they_were_and_given_one_by_one(tmp_path: Path) -> None:
    records = _source(tmp_path)
    loaded = Records.load(tmp_path / "source")
    assert len(loaded) == VIEWS * SAMPLES
    record = loaded.record(SAMPLES + 2)
    assert np.array_equal(record["params"], records.params_VSP[1, 2])
    assert np.array_equal(record["logits"], records.logits_VSC[1, 2].astype(np.float16))
    assert "points" not in record


def test_a_way_that_fails_says_why(tmp_path: Path) -> None:
    row = Row("gone", "memmap", tmp_path / "gone")
    answer = row.measure("shuffled", batch=BATCH, runs=2, seconds=1.0)
    assert answer.error.startswith("FileNotFoundError: ")


def test_a_process_that_dies_says_why(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    python.chmod(0o755)
    assert measure(Job("memmap", "shuffled", "", ""), python).error == "exit status 3: out of luck"


@pytest.mark.parametrize("program", [reading, loading])
def test_libraries_without_an_environment_are_shown_as_failed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: object,
) -> None:
    blocked = tmp_path / "a file, no folder"
    blocked.touch()
    asked = ["--samples", "40", "--views", "2", "--batch", "16", "--runs", "1", "--seconds", ".1"]
    if program is loading:
        asked += ["--points", "32"]
    monkeypatch.setattr(sys, "argv", ["bench", *asked, "--environment", str(blocked)])
    program.main()  # type: ignore[attr-defined]
    lines = capsys.readouterr().out.splitlines()
    for name in ("mosaicml-streaming (MDS)", "litdata", "webdataset"):
        assert any(name in line and "failed: no environment: " in line for line in lines)
    assert sum("failed" in line for line in lines) == 3
    assert sum(" / " in line for line in lines) == 1 + 5  # the heading, and all ways of ours
