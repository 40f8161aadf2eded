"""Scores of students whose answers are known.

Shape letters: B batch, S samples, C classes.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdrec.augment import parse_augmentation
from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student import Votes, evaluate
from tests.student.recordings import make_samples


class Oracle(nn.Module):
    """Says the class that the first coordinate of the first point names."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, points_BND: Tensor) -> Tensor:
        named_B = points_BND[:, 0, 0].round().long()
        return nn.functional.one_hot(named_B, self.num_classes).float()


def samples_naming(named: list[int], labels: list[int]) -> SampleSet:
    samples = replace(make_samples(len(labels)), labels_S=np.array(labels))
    samples.points_SND[:, 0, 0] = named
    return samples


def test_accuracy_counts_samples_and_classes() -> None:
    samples = samples_naming([0, 0, 0, 1, 2, 3], [0, 0, 0, 0, 2, 2])
    report = evaluate(Oracle(), samples, batch_size=4)
    assert report.count == 6
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.mean_class_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    samples = samples_naming([0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 0])
    report = evaluate(Oracle(), samples, batch_size=batch_size)
    assert report == evaluate(Oracle(), samples)


def test_the_training_mode_is_put_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, 5))
    evaluate(model.train(), make_samples())
    assert model.training
    evaluate(model.eval(), make_samples())
    assert not model.training


def test_clouds_can_be_centred_and_scaled_first() -> None:
    seen: list[Tensor] = []

    class Watching(Oracle):
        def forward(self, points_BND: Tensor) -> Tensor:
            seen.append(points_BND)
            return torch.zeros(len(points_BND), 5)

    samples = make_samples(6)
    moved = replace(samples, points_SND=samples.points_SND * 7 + np.float32(3))
    evaluate(Watching(), moved, normalize=True)
    assert seen[0].mean(dim=1).abs().max() < 1e-5
    torch.testing.assert_close(seen[0].norm(dim=-1).amax(dim=1), torch.ones(6))


def test_the_confusion_counts_what_is_taken_for_what() -> None:
    samples = samples_naming([0, 0, 0, 1, 2, 3], [0, 0, 0, 0, 2, 2])
    report = evaluate(Oracle(), samples)
    expected = np.zeros((5, 5), dtype=int)
    expected[0, 0], expected[0, 1], expected[2, 2], expected[2, 3] = 3, 1, 1, 1
    assert report.confusion == tuple(map(tuple, expected.tolist()))


def test_augmented_views_vote_with_their_probabilities() -> None:
    class Unsure(nn.Module):
        """Right where a cloud is seen mirrored, wrong but less sure where it is not."""

        def forward(self, points_BND: Tensor) -> Tensor:
            mirrored_B = points_BND[:, 0, 0] < 0
            return torch.where(
                mirrored_B[:, None], torch.tensor([0.0, 4.0]), torch.tensor([1.0, 0.0])
            )

    samples = replace(make_samples(6), labels_S=np.ones(6, dtype=np.int64))
    samples.points_SND[:, 0, 0] = 1.0
    assert evaluate(Unsure(), samples).accuracy == 0.0
    mirror = parse_augmentation("reflect_x=1.0")
    assert evaluate(Unsure(), samples, votes=Votes(mirror, 1)).accuracy == 1.0
    with pytest.raises(InvalidInputError, match="votes must be at least 1 view, got 0"):
        Votes(mirror, 0)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no labels"):
        evaluate(Oracle(), replace(make_samples(), labels_S=None))
    with pytest.raises(
        InvalidInputError, match="label 4, but the student knows the classes 0 to 2"
    ):
        evaluate(Oracle(3), samples_naming([0] * 5, [0, 1, 2, 3, 4]))
    with pytest.raises(
        InvalidInputError, match=r"logits of shape \(5, classes\), got \(5, 24, 3\)"
    ):
        evaluate(nn.Identity(), make_samples(5))
