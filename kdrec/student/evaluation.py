"""How good a student is on data that it was not trained on.

Shape letters: S samples, B batch, N points, D channels, C classes.
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
    """

    accuracy: float
    mean_class_accuracy: float
    count: int


def evaluate(
    model: nn.Module,
    samples: SampleSet,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    normalize: bool = False,
) -> EvaluationReport:
    """Classify samples as they are, not augmented.

    Args:
        model: Takes points (B, N, D), returns logits (B, C). Moved to the device; its training
            mode is put back afterwards.
        samples: With labels.
        batch_size: Samples of a pass.
        device: Where to compute.
        normalize: Centre and scale each cloud first, as the views were that it was trained on.

    Raises:
        InvalidInputError: No labels, or one that is no class of the student.
    """
    labels_S = _labels(samples)
    was_training = model.training
    model.to(device).eval()
    try:
        predicted_S = _predict(model, samples, batch_size, torch.device(device), normalize)
    finally:
        model.train(was_training)
    right_S = predicted_S == labels_S
    counts_C = np.bincount(labels_S)
    right_C = np.bincount(labels_S, weights=right_S)
    present_C = counts_C > 0
    return EvaluationReport(
        accuracy=float(right_S.mean()),
        mean_class_accuracy=float((right_C[present_C] / counts_C[present_C]).mean()),
        count=len(labels_S),
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
    if labels_S.max() >= description.num_classes:
        raise InvalidInputError(
            f"the test data have label {labels_S.max()}, the recording's classes are 0 to "
            f"{description.num_classes - 1}; give data of the same classes"
        )


def _labels(samples: SampleSet) -> npt.NDArray[np.int64]:
    if samples.labels_S is None:
        raise InvalidInputError("the data to test on have no labels; give labelled data")
    return samples.labels_S


@torch.inference_mode()
def _predict(
    model: nn.Module, samples: SampleSet, batch_size: int, device: torch.device, normalize: bool
) -> npt.NDArray[np.int64]:
    least_classes = int(_labels(samples).max()) + 1
    predicted: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(samples.points_SND), batch_size):
        points_BND = torch.tensor(samples.points_SND[start : start + batch_size], device=device)
        if normalize:
            points_BND = _normalized(points_BND, samples.channels)
        logits_BC = check_logits(model(points_BND), num_samples=len(points_BND))
        if logits_BC.shape[1] < least_classes:
            raise InvalidInputError(
                f"the data have label {least_classes - 1}, but the student knows the classes 0 to "
                f"{logits_BC.shape[1] - 1}; give data of the classes it was trained on"
            )
        predicted.append(logits_BC.argmax(dim=-1).cpu().numpy())
    return np.concatenate(predicted)


def _normalized(points_BND: Tensor, channels: tuple[str, ...]) -> Tensor:
    count = len(points_BND)
    none_B = np.zeros(count, dtype=np.int64)
    nothing = ViewParameters((), np.empty((count, 0), np.float32), 0, none_B, none_B)
    normalized: Tensor = _NORMALIZE.apply(points_BND, nothing, channels=channels)
    return normalized


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" ... ({len(names)})" if len(names) > 4 else "")
