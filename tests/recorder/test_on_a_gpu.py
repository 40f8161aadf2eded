"""What only a GPU can show: it computes the same each time, alone and compiled."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kdrec.augment import parse_augmentation
from kdrec.models import build_model
from kdrec.recorder import TeacherOptions, TeacherPass, load_teacher
from kdrec.recorder.precision import Precision
from kdrec.samples import make_shapes
from kdrec.store import Block
from tests.programs import contents, kdrec, options

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU; none is here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "teacher.pt"
    torch.save(build_model("pointnet", num_classes=12).state_dict(), path)
    return path


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("encoding", ["exact", "topk"])  # of topk the logits stay on the GPU
def test_a_recording_has_the_same_bytes_every_run(
    tmp_path: Path, weights: Path, precision: Precision, compiled: bool, encoding: str
) -> None:
    settings = {
        "teacher": "pointnet",
        "weights": weights,
        "data": "shapes",
        "data-arg": ["count=200", "num_points=256"],
        "views": 4,
        "group": 2,
        "batch-size": 32,
        "block-samples": 64,
        "augment": "scale=0.9:1.1,rotate_y=15,translate=0.05,normalize",
        "encoding": encoding,
        "device": "cuda",
        "precision": precision,
        "class-map": ",".join(map(str, range(12))),
    }
    extra = ["--compile"] if compiled else []
    for name in ("1.zarr", "2.zarr"):
        done = kdrec("record", tmp_path / name, *options(settings), *extra)
        assert done.code == 0, done.err
    assert contents(tmp_path / "1.zarr") == contents(tmp_path / "2.zarr")


def test_answers_that_come_by_themselves_are_those_of_the_network(weights: Path) -> None:
    samples = make_shapes(100, seed=0, num_points=128)
    teacher = load_teacher(TeacherOptions("pointnet", weights=weights, device="cuda"))
    augmentation = parse_augmentation("scale=0.9:1.1,rotate_y=15,subset=64")
    teacher_pass = TeacherPass(teacher, samples, augmentation, seed=3, batch_size=16)
    block = Block(group=0, part=0, views=range(2), samples=range(10, 50))
    asked = [teacher_pass.ask(block) for _ in range(3)]  # none is waited for
    found = [each.wait() for each in asked]
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
    for view in block.views:
        drawn = augmentation.draw(3, views=view, samples_B=np.arange(10, 26))
        seen = augmentation.apply(torch.from_numpy(samples.points_SND[10:26]), drawn)
        alone = teacher.logits(seen).cpu().numpy()
        np.testing.assert_allclose(found[0][view, :16], alone, rtol=1e-4, atol=1e-4)
    seconds = asked[0].answers.device_seconds()
    assert seconds is not None
    assert seconds > 0
