"""Pictures: PNG files that show something, without a display or a trace of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from kdrec.student import train
from kdrec.student.pictures import draw_training
from tests.programs import environment
from tests.student.recordings import make_samples, record
from tests.student.test_training import make_settings


@pytest.mark.parametrize("tested", [True, False])
def test_a_training_is_drawn(tmp_path: Path, tested: bool) -> None:
    test = make_samples(20, seed=1) if tested else None
    settings = make_settings(epochs=2, self_weight=-0.1)
    result = train(record(), settings, tmp_path, test=test)
    paths = draw_training(tmp_path, result, test)
    assert [path.name for path in paths] == ["curves.png", "confusion.png"][: len(paths)]
    assert len(paths) == 1 + tested
    for path in paths:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 5000


def test_matplotlib_is_loaded_only_to_draw() -> None:
    code = "import sys, kdrec.student.pictures; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "False"
