"""Where a transform after replay breaks the pairing of points and logits, it is said.

Shape letters: B batch, N points.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kdrec.student import RecordedViews
from tests.student.recordings import record

Transform = Callable[[Tensor], Tensor]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def jitter(points_BN3: Tensor) -> Tensor:
    noise_BN3 = torch.randn(points_BN3.shape, generator=generator())
    return points_BN3 + (0.01 * noise_BN3).clamp(-0.05, 0.05)


def drop(points_BN3: Tensor) -> Tensor:
    dropped_BN = torch.rand(points_BN3.shape[:2], generator=generator()) < 0.3
    return torch.where(dropped_BN[..., None], points_BN3[:, :1], points_BN3)


def reorder(points_BN3: Tensor) -> Tensor:
    return points_BN3[:, torch.randperm(points_BN3.shape[1], generator=generator())]


def scale_in_place(points_BN3: Tensor) -> Tensor:
    return points_BN3.mul_(1.1)


HARMLESS: dict[str, Transform] = {
    "nothing": lambda points_BN3: points_BN3,
    "jitter": jitter,
    "dropped points": drop,
    "another order": reorder,
    "fewer points": lambda points_BN3: points_BN3[:, :20],
}
HARMFUL: dict[str, Transform] = {
    "scaled in place": scale_in_place,
    "moved": lambda points_BN3: points_BN3 + 0.1,
    "mirrored": lambda points_BN3: points_BN3 * torch.tensor([-1.0, 1.0, 1.0]),
    "axes swapped": lambda points_BN3: points_BN3[..., [1, 0, 2]],
    "scaled and jittered": lambda points_BN3: jitter(1.2 * points_BN3),
    "scaled and dropped": lambda points_BN3: drop(0.8 * points_BN3),
}


def views_with(transform: Transform) -> RecordedViews:
    return RecordedViews(record(augment="scale=0.9:1.1"), transform=transform)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_keeps_the_shape_is_applied_without_a_word(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = views_with(HARMLESS[name])[list(range(16))]
    plain = RecordedViews(record(augment="scale=0.9:1.1"))[list(range(16))]
    assert torch.equal(batch.points, HARMLESS[name](plain.points))
    assert torch.equal(batch.teacher_logits, plain.teacher_logits)


@pytest.mark.parametrize("name", HARMFUL)
def test_what_moves_whole_shapes_is_warned_of_once(name: str) -> None:
    views = views_with(HARMFUL[name])
    with pytest.warns(UserWarning, match="answer to the shapes before"):
        views[list(range(16))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        views[list(range(16))]
