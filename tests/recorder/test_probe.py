"""The probes that a teacher must pass before it is recorded."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.answers import check_finite
from kdrec.recorder.probe import probe_teacher
from kdrec.recorder.teacher import Teacher, TeacherOptions, load_teacher
from kdrec.store import accuracy

NUM_POINTS = 16


class _Means(nn.Module):
    """Logits of a cloud from the mean of its points, and of nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, points_BND: Tensor) -> Tensor:
        return self.finish(self.linear(points_BND.mean(dim=1)))

    def finish(self, logits_BC: Tensor) -> Tensor:
        return logits_BC


class _FunctionalDropout(_Means):
    def finish(self, logits_BC: Tensor) -> Tensor:
        return functional.dropout(logits_BC, 0.3)  # is in training mode by default


class _RandomPoints(_Means):
    def forward(self, points_BND: Tensor) -> Tensor:
        return super().forward(
            points_BND[:, torch.randperm(points_BND.shape[1])[: NUM_POINTS // 2]]
        )


class _BatchStatistics(_Means):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)  # eval() leaves it as it is

    def finish(self, logits_BC: Tensor) -> Tensor:
        normed: Tensor = self.norm(logits_BC)
        return normed


class _CentredBatch(_Means):
    def finish(self, logits_BC: Tensor) -> Tensor:
        return logits_BC - logits_BC.mean(dim=0)


class _NeedsScale(_Means):
    """Depends on the batch in a way that clouds of another scale do not show."""

    def forward(self, points_BND: Tensor) -> Tensor:
        scaled_BND = points_BND / points_BND.norm(dim=2).amax(dim=1)[:, None, None]
        logits_BC = super().forward(scaled_BND)
        return logits_BC - logits_BC.mean(dim=0)


class _SlightlyOdd(_Means):
    """As a GPU is that sums in another order at another place of the batch."""

    def finish(self, logits_BC: Tensor) -> Tensor:
        return logits_BC + 1e-6 * torch.arange(len(logits_BC))[:, None]


class _FailsOnNear(_Means):
    def finish(self, logits_BC: Tensor) -> Tensor:
        logits_BC[2, 1] = torch.nan
        return logits_BC


def _teacher(module: nn.Module, **options: Any) -> Teacher:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return Teacher(
        module=module.eval(),
        options=TeacherOptions(factory="tests:teacher", **options),
        digest="",
        class_names=None,
        described_arguments={},
    )


def _points(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, NUM_POINTS, 3)).astype(np.float32)


@pytest.mark.parametrize("num_samples", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 8])
def test_a_good_teacher_passes(num_samples: int, batch_size: int) -> None:
    report = probe_teacher(_teacher(_Means()), _points(num_samples), batch_size)
    assert report.num_classes == 4
    assert report.repeatability <= 1e-5
    assert report.largest_logit > 0


@pytest.mark.parametrize("network", [_FunctionalDropout, _RandomPoints])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_teacher_that_is_random_in_evaluation_is_found(
    network: type[nn.Module], batch_size: int
) -> None:
    with pytest.raises(InvalidInputError, match="random in eval mode: logits differ by up to") as e:
        probe_teacher(_teacher(network()), _points(20), batch_size)
    assert e.value.kind is ErrorKind.UNSUITABLE_TEACHER


@pytest.mark.parametrize("network", [_BatchStatistics, _CentredBatch, _NeedsScale])
@pytest.mark.parametrize("num_samples", [2, 4, 8, 40])
def test_a_teacher_that_looks_at_other_samples_is_found(
    network: type[nn.Module], num_samples: int
) -> None:
    with pytest.raises(InvalidInputError, match="depend on the rest of its batch") as caught:
        probe_teacher(_teacher(network()), _points(num_samples), 8)
    assert caught.value.kind is ErrorKind.UNSUITABLE_TEACHER


def test_a_difference_within_rounding_is_reported() -> None:
    report = probe_teacher(_teacher(_SlightlyOdd()), _points(20), 8)
    assert 3e-6 < report.repeatability < 5e-6 + 1e-6
    assert report.tolerance == pytest.approx(1e-3 * max(1, report.largest_logit))


def test_low_precision_is_allowed_more() -> None:
    exact = probe_teacher(_teacher(_Means()), _points(20), 8)
    low = probe_teacher(_teacher(_Means(), precision="bf16"), _points(20), 8)
    assert low.tolerance == pytest.approx(50 * exact.tolerance, rel=0.1)


def test_a_logit_that_is_not_a_number_names_its_sample() -> None:
    with pytest.raises(InvalidInputError, match="class 1 for sample 12, not augmented, is nan"):
        probe_teacher(_teacher(_FailsOnNear()), _points(3), 8, samples_S=[10, 11, 12])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_record_that_is_not_finite_is_named(value: float) -> None:
    logits_BC = np.zeros((4, 5), dtype=np.float32)
    check_finite(logits_BC, np.arange(4), views_B=np.arange(4))
    logits_BC[2, 3] = logits_BC[3, 0] = value
    with pytest.raises(InvalidInputError, match=f"class 3 for sample 72, view 5, is {value}") as e:
        check_finite(logits_BC, np.arange(70, 74), views_B=np.array([4, 4, 5, 5]))
    assert e.value.kind is ErrorKind.UNSUITABLE_TEACHER


@pytest.mark.parametrize(("num_samples", "batch_size"), [(0, 4), (3, 0)])
def test_a_probe_of_nothing_is_refused(num_samples: int, batch_size: int) -> None:
    with pytest.raises(InvalidInputError, match=f"got {num_samples} samples and batch"):
        probe_teacher(_teacher(_Means()), _points(num_samples), batch_size)


def test_a_report_holds_no_network() -> None:
    report = probe_teacher(_teacher(_Means()), _points(2), 2)
    assert all(isinstance(value, int | float) for value in dataclasses.astuple(report))


def test_accuracy_counts_among_all_and_among_mapped_classes() -> None:
    logits_BC = np.array([[9, 1, 0], [9, 1, 3], [0, 1, 2], [0, 5, 2]], dtype=np.float32)
    labels_B = np.array([1, 0, 0, 0])  # of the data, whose classes are the teacher's 2 and 1
    assert accuracy(logits_BC, labels_B, (2, 1)) == (1, 3)


def test_accuracy_without_a_map_is_the_same_among_all() -> None:
    logits_BC = np.eye(4, dtype=np.float32)
    assert accuracy(logits_BC, np.array([0, 1, 2, 0]), None) == (3, 3)


@pytest.mark.parametrize(
    ("labels", "class_map", "message"),
    [
        ([0, -1], None, "labels must be from 0 to 2, got -1"),
        ([0, 2], [1, 2], "labels must be from 0 to 1, got 2"),
        ([0, 1], [1, 3], "class map entries must be from 0 to 2, got 3"),
    ],
)
def test_a_class_out_of_range_is_refused(
    labels: list[int], class_map: list[int] | None, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        accuracy(np.zeros((2, 3), dtype=np.float32), np.array(labels), class_map)


def test_a_real_teacher_passes_and_gives_its_known_logits(shared_data: Path) -> None:
    with np.load(shared_data / "clouds" / "modelnet10_test908_1024.npz") as archive:
        points_SND = _normalized(archive["xyz"][:96])
    known_SC = np.load(shared_data / "logits" / "pointnet_clean.npy")[:96]
    weights = shared_data / "teachers" / "pointnet_modelnet40.npz"
    teacher = load_teacher(TeacherOptions(factory="pointnet", weights=weights))
    report = probe_teacher(teacher, points_SND, 32)
    assert report.num_classes == 40
    assert report.repeatability < 1e-4
    batches = [teacher.logits(torch.tensor(p)).numpy() for p in np.array_split(points_SND, 3)]
    assert np.abs(np.concatenate(batches) - known_SC).max() < 0.03


def _normalized(xyz_SN3: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    points_SN3 = xyz_SN3.astype(np.float64)
    points_SN3 -= points_SN3.mean(axis=1, keepdims=True)
    radius_S = np.linalg.norm(points_SN3, axis=2).max(axis=1)
    return np.asarray(points_SN3 / radius_S[:, None, None], dtype=np.float32)
