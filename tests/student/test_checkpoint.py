"""A student on disk: what stands in the files, and what is refused."""

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from kdrec.client import Recording
from kdrec.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from kdrec.models import build_model
from kdrec.recorder import TeacherOptions, load_teacher
from kdrec.student import TrainSettings, evaluate, load_student, read_checkpoint, train
from tests.student.recordings import make_samples, record


def train_briefly(recording: Recording, out: Path, **changed: Any) -> None:
    settings = TrainSettings(**{"epochs": 2, "device": "cpu", "threads": 1, **changed})
    train(recording, settings, out, test=make_samples(20, seed=1))


@pytest.fixture
def recording() -> Recording:
    return record()


@pytest.fixture
def out(tmp_path: Path, recording: Recording) -> Path:
    train_briefly(recording, tmp_path / "out")
    return tmp_path / "out"


def test_the_best_weights_load_into_the_network_without_kdrec(out: Path) -> None:
    weights = safetensors.torch.load_file(out / "best.safetensors")
    build_model("pointnet-s", num_classes=5).load_state_dict(weights)


def test_the_last_file_holds_weights_and_optimizer(out: Path) -> None:
    tensors = safetensors.torch.load_file(out / "last.safetensors")
    names = list(build_model("pointnet-s", num_classes=5).state_dict())
    parameters = len(list(build_model("pointnet-s", num_classes=5).parameters()))
    assert {f"model.{name}" for name in names} <= tensors.keys()
    states = {name for name in tensors if name.startswith("optimizer.")}
    assert len(states) == 3 * parameters
    assert tensors["optimizer.0.step"].item() == 4


def test_a_teacher_is_made_of_the_best_file_and_of_the_last_it_is_told_so(out: Path) -> None:
    best = TeacherOptions(factory="pointnet-s", weights=out / "best.safetensors")
    assert load_teacher(best).logits(torch.zeros(2, 8, 3)).shape == (2, 5)
    with pytest.raises(InvalidInputError, match=r"give the best\.safetensors beside it"):
        load_teacher(replace(best, weights=out / "last.safetensors"))


def test_the_metadata_name_recording_settings_and_history(out: Path, recording: Recording) -> None:
    data = (out / "last.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found = json.loads(header["__metadata__"]["kdrec"])
    assert found["recording"]["identity"] == recording.identity
    assert found["recording"]["header"] == recording.reader.header.digest
    assert found["settings"]["student"] == "pointnet-s"
    assert [report["epoch"] for report in found["epochs"]] == [0, 1]


def test_nothing_is_pickled(out: Path) -> None:
    for path in out.iterdir():
        assert not zipfile.is_zipfile(path)
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError)):
            pickle.loads(path.read_bytes())


@pytest.mark.parametrize("name", ["", "best.safetensors", "last.safetensors"])
def test_a_trained_student_can_be_loaded_and_scored(out: Path, name: str) -> None:
    trained = load_student(out / name)
    report = evaluate(trained.model, make_samples(20, seed=1))
    assert report.accuracy == trained.info.epochs[-1].test_accuracy
    assert not trained.model.training


def test_a_checkpoint_that_names_code_does_not_run_it(tmp_path: Path, recording: Recording) -> None:
    file = tmp_path / "student_of_mine.py"
    file.write_text(
        "from kdrec.models import build_model\n"
        "def small(**arguments):\n"
        "    return build_model('pointnet-s', **arguments)\n"
    )
    train_briefly(recording, tmp_path / "out", student=f"{file}:small", epochs=1)
    with pytest.raises(InvalidInputError, match="whose code would run"):
        load_student(tmp_path / "out")
    load_student(tmp_path / "out", student=f"{file}:small")
    load_student(tmp_path / "out", student="pointnet-s")


def test_weights_of_another_network_are_refused(out: Path) -> None:
    with pytest.raises(ConflictError, match="the weights do not fit pointnet-s"):
        load_student(out, student="pointnet")


@pytest.mark.parametrize("damage", ["torn", "empty", "foreign", "metadata", "settings"])
def test_a_file_that_is_damaged_or_foreign_is_said_so(out: Path, damage: str) -> None:
    path = out / "best.safetensors"
    data = path.read_bytes()
    tensors = {"a": torch.zeros(1)}
    damaged = {
        "torn": data[: len(data) // 2],
        "empty": b"",
        "foreign": safetensors.torch.save(tensors),
        "metadata": safetensors.torch.save(tensors, {"kdrec": "{"}),
        "settings": data.replace(b'batch_size\\":32', b'batch_size\\":-2'),
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="damaged or no student of kdrec"):
        read_checkpoint(path)


def test_an_absent_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_student(tmp_path / "nothing.safetensors")


def test_tied_weights_are_kept(tmp_path: Path, recording: Recording) -> None:
    file = tmp_path / "tied_student.py"
    file.write_text(
        "from torch import nn\n"
        "def tied(num_classes, num_channels):\n"
        "    layer = nn.Linear(24, 24)\n"
        "    head = nn.Linear(24 * num_channels, num_classes)\n"
        "    class Tied(nn.Module):\n"
        "        def __init__(self):\n"
        "            super().__init__()\n"
        "            self.one, self.two, self.head = layer, layer, head\n"
        "        def forward(self, points):\n"
        "            return self.head(self.two(self.one(points.mT)).flatten(1))\n"
        "    return Tied()\n"
    )
    train_briefly(recording, tmp_path / "out", student=f"{file}:tied")
    weights = safetensors.torch.load_file(tmp_path / "out" / "best.safetensors")
    assert torch.equal(weights["one.weight"], weights["two.weight"])
