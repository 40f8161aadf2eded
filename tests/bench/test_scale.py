import sys
from pathlib import Path

import numpy as np
import pytest

from bench import scale


def test_a_long_recording_is_written_opened_read_and_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logits = np.random.Generator(np.random.PCG64(0)).normal(size=(12, 30, 40)).astype(np.float32)
    (tmp_path / "logits").mkdir()
    np.savez(tmp_path / "logits" / "densepoint_views.npz", logits=logits)
    asked = ["--samples", "96", "--views", "5", "--block-samples", "32", "--runs", "1"]
    monkeypatch.setattr(sys, "argv", ["scale", "--data", str(tmp_path), *asked])
    scale.main()
    printed = capsys.readouterr().out
    assert "96 samples x 5 views x 40 classes, 3 blocks of 5 views x 32 samples" in printed
    for line in ("written and sealed", "logits", "open:", "read in shuffled", "kdrec inspect"):
        assert line in printed
