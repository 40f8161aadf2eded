"""A teacher asked again: the same, the same elsewhere, or another one."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdrec.augment import parse_augmentation
from kdrec.client import Recording, open_recording
from kdrec.errors import ConflictError
from kdrec.recorder import (
    RecordRequest,
    TeacherComparison,
    TeacherOptions,
    TeacherVerdict,
    load_teacher,
    record,
    verify_teacher,
)
from kdrec.samples import load_samples, make_shapes
from tests.recorder.toy_teachers import Silent, record_toy, toy, toy_samples, write_toys


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toys(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def recording(toys: Path) -> Recording:
    record_toy(toys.parent / "r.zarr", toy(toys))
    return open_recording(toys.parent / "r.zarr")


def ask(recording: Recording, teacher: TeacherOptions) -> TeacherComparison:
    return verify_teacher(recording, load_teacher(teacher), recording.samples())


def test_the_same_teacher_answers_to_the_bit(recording: Recording, toys: Path) -> None:
    found = ask(recording, toy(toys))
    assert found.verdict is TeacherVerdict.SAME
    assert found.identical == found.records == recording.manifest.num_proof
    assert (found.largest_difference, found.same_tensors) == (0, True)
    assert found.draws >= 1


def test_sums_in_another_order_are_other_hardware(recording: Recording, toys: Path) -> None:
    found = ask(recording, toy(toys, order="backward"))
    assert found.verdict is TeacherVerdict.OTHER_HARDWARE
    assert found.largest_difference is not None
    assert 0 < found.largest_difference < found.allowed / 10
    assert found.fidelity is not None
    assert found.fidelity.agreement == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"seed": 1}, "tensors are others .* answers not the recorded ones"),
        ({"nudge": 1e-6}, "tensors are others .* answers close to the recorded ones"),
        ({"sharpen": 1.01}, "tensors are the recorded ones, but .* more than rounding"),
        ({"classes": 10}, "has 10 classes, the recorded one 12"),
    ],
)
def test_another_teacher_is_told_and_why(
    recording: Recording, toys: Path, arguments: dict[str, float], reason: str
) -> None:
    found = ask(recording, toy(toys, **arguments))
    assert found.verdict is TeacherVerdict.ANOTHER
    assert re.search(reason, found.reason)
    # What cannot be compared is none, not infinite, which JSON has no word for.
    assert (found.fidelity is None) == ("classes" in arguments)
    assert (found.largest_difference is None) == ("classes" in arguments)


def test_a_tensor_that_nobody_uses_makes_no_other_teacher(recording: Recording, toys: Path) -> None:
    found = ask(recording, toy(toys, unused=True))
    assert found.verdict is TeacherVerdict.SAME
    assert not found.same_tensors
    assert "although its tensors are others" in found.reason


def test_other_data_are_told_before_the_teacher_is_blamed(recording: Recording, toys: Path) -> None:
    others = make_shapes(24, seed=1, num_points=32)
    with pytest.raises(ConflictError, match="sample 0"):
        verify_teacher(recording, load_teacher(toy(toys)), others)


def test_a_lossy_recording_knows_its_teacher_as_well(tmp_path: Path, toys: Path) -> None:
    record_toy(tmp_path / "r.zarr", toy(toys), encoding="half", with_samples=False)
    recording = open_recording(tmp_path / "r.zarr")
    found = verify_teacher(recording, load_teacher(toy(toys)), toy_samples())
    assert found.verdict is TeacherVerdict.SAME


def test_a_real_teacher_from_another_file_of_the_same_tensors_is_the_same(
    tmp_path: Path, shared_data: Path
) -> None:
    source = str(shared_data / "clouds" / "modelnet10_test908_1024.npz")
    samples = load_samples(source, num_points=128).rows(np.arange(0, 908, 30))
    weights = shared_data / "teachers" / "pointnet_modelnet40.npz"
    options = TeacherOptions(factory="pointnet", weights=weights)
    request = RecordRequest(
        out=tmp_path / "r.zarr",
        teacher=options,
        augmentation=parse_augmentation("scale=0.9:1.1,rotate_y=15,normalize"),
        views=2,
        threads=1,
        class_map=(1, 2, 8, 12, 14, 22, 23, 30, 33, 35),
    )
    record(request, load_teacher(options), samples, Silent())
    recording = open_recording(tmp_path / "r.zarr")
    same = replace(options, weights=weights.with_suffix(".t7"))
    assert ask(recording, same).verdict is TeacherVerdict.SAME
    bf16 = ask(recording, replace(options, precision="bf16"))
    assert bf16.verdict is TeacherVerdict.ANOTHER
    assert "what it computes with" in bf16.reason
