"""How good a student is on data that it was not trained on.

Shape letters: S samples, B batch, N points, D channels, C logits of the student, K classes of the
data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdrec.augment import Augmentation, ViewParameters, parse_augmentation
from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from kdrec.student.batches import SourceDescription
from kdrec.student.networks import check_logits

_NORMALIZE: Augmentation = parse_augmentation("normalize")


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The score of a student.

    Attributes:
        accuracy: Of all samples, the part classified correctly.
        mean_class_accuracy: The mean over the classes that occur.
        count: Number of samples.
        confusion: For each class of the data, how many of its samples were taken for each.
    """

    accuracy: float
    mean_class_accuracy: float
    count: int
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Votes:
    """Augmented views of each sample, whose probabilities are added to those of the sample itself.

    Attributes:
        augmentation: Of the views.
        views: How many, beside the sample as it is.
        seed: Of what is drawn.
    """

    augmentation: Augmentation
    views: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1:
            raise InvalidInputError(f"votes must be at least 1 view, got {self.views}")


def evaluate(
    model: nn.Module,
    samples: SampleSet,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    normalize: bool = False,
    class_columns: Sequence[int] | None = None,
    votes: Votes | None = None,
) -> EvaluationReport:
    """Classify samples as they are, not augmented unless votes are asked for.

    Args:
        model: Takes points (B, N, D), returns logits (B, C). Moved to the device; its training
            mode is put back afterwards.
        samples: With labels.
        batch_size: Samples of a pass.
        device: Where to compute.
        normalize: Centre and scale each cloud first, as the views were that it was trained on.
        class_columns: The logit of each class of the data, where the student has more.
        votes: Augmented views to be asked as well.

    Raises:
        InvalidInputError: No labels, or one that is no class of the student.
    """
    labels_S = _labels(samples)
    was_training = model.training
    model.to(device).eval()
    try:
        scores_SK = _scores(model, samples, batch_size, torch.device(device), normalize, votes,
                            class_columns)  # fmt: skip
    finally:
        model.train(was_training)
    return score_predictions(scores_SK.argmax(axis=1), labels_S, num_classes=scores_SK.shape[1])


def score_predictions(
    predicted_S: npt.NDArray[np.int64], labels_S: npt.NDArray[np.int64], *, num_classes: int
) -> EvaluationReport:
    """The score of predictions.

    Args:
        predicted_S: Class said of each sample.
        labels_S: Class of each sample.
        num_classes: K.
    """
    confusion_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion_KK, (labels_S, predicted_S), 1)
    counts_K, right_K = confusion_KK.sum(axis=1), confusion_KK.diagonal()
    present_K = counts_K > 0
    return EvaluationReport(
        accuracy=float(right_K.sum() / len(labels_S)),
        mean_class_accuracy=float((right_K[present_K] / counts_K[present_K]).mean()),
        count=len(labels_S),
        confusion=tuple(tuple(row) for row in confusion_KK.tolist()),
    )


def check_test_samples(samples: SampleSet, description: SourceDescription) -> None:
    """Whether a student of this source can be tested on these samples.

    Raises:
        InvalidInputError: Other channels or classes, or no labels.
    """
    labels_S = _labels(samples)
    if samples.channels != description.channels:
        raise InvalidInputError(
            f"the test data have the channels {', '.join(samples.channels)}, the recording "
            f"{', '.join(description.channels)}; prepare them in the same way"
        )
    mine, theirs = samples.class_names, description.class_names
    if mine is not None and theirs is not None and mine != theirs:
        raise InvalidInputError(
            f"the classes of the test data are {_shown(mine)}, those of the recording "
            f"{_shown(theirs)}; they must be the same in the same order"
        )
    if labels_S.max() >= description.num_data_classes:
        raise InvalidInputError(
            f"the test data have label {labels_S.max()}, the recording's classes are 0 to "
            f"{description.num_data_classes - 1}; give data of the same classes"
        )


def _labels(samples: SampleSet) -> npt.NDArray[np.int64]:
    if samples.labels_S is None:
        raise InvalidInputError("the data to test on have no labels; give labelled data")
    return samples.labels_S


@torch.inference_mode()
def _scores(
    model: nn.Module,
    samples: SampleSet,
    batch_size: int,
    device: torch.device,
    normalize: bool,
    votes: Votes | None,
    class_columns: Sequence[int] | None,
) -> npt.NDArray[np.float32]:
    """For each sample, the logits of the data's classes, or the sum of its views' probabilities."""
    parts: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(samples.points_SND), batch_size):
        index_B = np.arange(start, min(start + batch_size, len(samples.points_SND)))
        seen = _views(samples, index_B, normalize, votes, device)
        logits = [_data_logits(model, points_BND, class_columns) for points_BND in seen]
        _check_classes(_labels(samples), logits[0].shape[1])
        if votes is not None:
            logits = [logits_BK.float().softmax(dim=-1) for logits_BK in logits]
        parts.append(torch.stack(logits).sum(dim=0).float().cpu().numpy())
    return np.concatenate(parts)


def _views(
    samples: SampleSet,
    index_B: npt.NDArray[np.int64],
    normalize: bool,
    votes: Votes | None,
    device: torch.device,
) -> list[Tensor]:
    """The samples as they are, and their augmented views."""
    points_BND = torch.tensor(samples.points_SND[index_B], device=device)
    seen = [_normalized(points_BND, samples.channels) if normalize else points_BND]
    for view in range(0 if votes is None else votes.views):
        assert votes is not None
        drawn = votes.augmentation.draw(votes.seed, views=view, samples_B=index_B)
        seen.append(votes.augmentation.apply(points_BND, drawn, channels=samples.channels))
    return seen


def _data_logits(
    model: nn.Module, points_BND: Tensor, class_columns: Sequence[int] | None
) -> Tensor:
    logits_BC = check_logits(model(points_BND), num_samples=len(points_BND))
    return logits_BC if class_columns is None else logits_BC[:, list(class_columns)]


def _check_classes(labels_S: npt.NDArray[np.int64], num_classes: int) -> None:
    if labels_S.max() >= num_classes:
        raise InvalidInputError(
            f"the data have label {labels_S.max()}, but the student knows the classes 0 to "
            f"{num_classes - 1}; give data of the classes it was trained on"
        )


def _normalized(points_BND: Tensor, channels: tuple[str, ...]) -> Tensor:
    count = len(points_BND)
    none_B = np.zeros(count, dtype=np.int64)
    nothing = ViewParameters((), np.empty((count, 0), np.float32), 0, none_B, none_B)
    normalized: Tensor = _NORMALIZE.apply(points_BND, nothing, channels=channels)
    return normalized


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" ... ({len(names)})" if len(names) > 4 else "")
