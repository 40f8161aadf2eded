"""Teachers from a file outside the package, by command line alone."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from kdrec.client import open_recording
from tests.programs import kdrec, options

SMALL = {
    "data": "shapes",
    "data-arg": ["count=24", "num_points=32"],
    "views": 2,
    "batch-size": 8,
    "augment": "scale=0.9:1.1",
    "threads": 1,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As research code leaves it: wrapped, prefixed, with a namespace and numpy scalars inside."""
    generator = torch.Generator().manual_seed(5)
    shapes = {"lift.weight": (16, 3, 1), "lift.bias": (16,), "head.weight": (12, 16),
              "head.bias": (12,)}  # fmt: skip
    tensors = {
        f"module.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()
    }
    path = tmp_path / "best.pth"
    torch.save(
        {
            "base_model": tensors,
            "args": argparse.Namespace(lr=0.1, name="run"),
            "metrics": {"acc": np.float64(92.1), "epoch": np.int64(3)},
        },
        path,
    )
    return path


def test_channels_first_with_a_tuple_and_a_research_checkpoint(
    tmp_path: Path, teachers: Path, checkpoint: Path
) -> None:
    path = tmp_path / "r.zarr"
    done = kdrec(
        "record", path, "--teacher", f"{teachers}:ChannelsFirst", "--weights", checkpoint,
        "--input-layout", "B3N", "--output", "0", "--encoding", "exact", *options(SMALL),
    )  # fmt: skip
    assert done.code == 0, done.err
    _, logits = open_recording(path).read(0)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-5)  # they are log-softmax
    manifest = (path / "zarr.json").read_text()
    for private in (str(tmp_path), teachers.stem, "root", "best.pth"):
        assert private not in manifest


def test_a_teacher_that_is_random_in_eval_mode_is_found(tmp_path: Path, teachers: Path) -> None:
    path = tmp_path / "r.zarr"
    done = kdrec(
        "record", path, "--teacher", f"{teachers}:Random", "--input-layout", "B3N",
        "--output", "0", *options(SMALL),
    )  # fmt: skip
    assert done.code == 2
    assert "random in eval mode" in done.err
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--teacher", "nowhere.py:make"], 3, "no file nowhere.py"),
        (["--teacher", "{teachers}:Missing"], 3, "no 'Missing'; it has: ChannelsFirst"),
        (["--teacher", "{teachers}:PointsLast", "--teacher-arg", "depth=3"], 2, "depth=3"),
        (["--teacher", "{teachers}:ChannelsFirst", "--input-layout", "B3N"], 2, "--output"),
        (["--teacher", "{teachers}:PointsLast", "--augment", "jitter=0.1"], 2, "every point"),
        (["--teacher", "{teachers}:PointsLast", "--data", "gone.py:make"], 3, "no file gone.py"),
        (["--teacher", "{teachers}:PointsLast", "--device", "cuda"], 2, "use --device cpu"),
        (["--teacher", "{teachers}:PointsLast", "--views", "0"], 2, "--views"),
        (["--teacher", "{teachers}:PointsLast", "--encoding", "zip"], 2, "exact, half"),
        (["--teacher", "{teachers}:PointsLast", "--num-points", "64"], 2, "64"),
        (["--teacher", "{teachers}:PointsLast", "--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_wrong_use_is_one_line_with_what_to_do(
    tmp_path: Path, teachers: Path, arguments: list[str], code: int, said: str
) -> None:
    given = [argument.format(teachers=teachers) for argument in arguments]
    asked = {key: value for key, value in SMALL.items() if f"--{key}" not in given}
    done = kdrec("record", tmp_path / "r.zarr", *given, *options(asked))
    assert done.code == code, done.err
    lines = done.err.strip().splitlines()
    assert said in lines[-1]
    assert "Traceback" not in done.err
    assert not (tmp_path / "r.zarr").exists()
