"""Noise on the student's points.

Shape letters: B batch, N points, D channels.
"""

from pathlib import Path

import pytest
import torch

from kdrec.student import RecordedViews, TrainSettings, train
from kdrec.student.point_noise import disturb
from tests.student.recordings import record
from tests.student.test_training import make_settings


def points() -> torch.Tensor:
    return torch.rand(8, 200, 5, generator=torch.Generator().manual_seed(0))


def disturbed(seed: int = 0, **settings: float) -> torch.Tensor:
    return disturb(points(), TrainSettings(**settings), torch.Generator().manual_seed(seed))


def test_without_noise_the_points_are_the_same() -> None:
    assert torch.equal(disturbed(), points())


def test_jitter_moves_coordinates_within_its_clip_and_nothing_else() -> None:
    moved_BN3 = (disturbed(jitter=0.02, jitter_clip=0.03) - points())[..., :3]
    assert moved_BN3.abs().max() == pytest.approx(0.03, abs=1e-6)
    assert moved_BN3.std() == pytest.approx(0.017, abs=0.002)
    assert torch.equal(disturbed(jitter=0.02)[..., 3:], points()[..., 3:])


def test_dropped_points_become_the_first_one() -> None:
    kept_BND = disturbed(point_dropout=0.5)
    first_BND = points()[:, :1]
    same_BN = (kept_BND == points()).all(dim=2)
    dropped_BN = (kept_BND == first_BND).all(dim=2)
    assert (same_BN | dropped_BN).all()
    shares_B = (~same_BN).float().mean(dim=1)
    assert shares_B.max() < 0.6
    assert shares_B.std() > 0.05


def test_the_generator_alone_determines_it() -> None:
    noise = {"jitter": 0.01, "point_dropout": 0.3}
    assert torch.equal(disturbed(1, **noise), disturbed(1, **noise))
    assert not torch.equal(disturbed(1, **noise), disturbed(2, **noise))


def test_what_the_teacher_saw_stays_as_it_was(tmp_path: Path) -> None:
    views = RecordedViews(record())
    before = views.batch([0, 1])
    train(views, make_settings(epochs=1, jitter=0.05), tmp_path / "out")
    views.set_epoch(0)
    assert torch.equal(views.batch([0, 1]).points, before.points)
