"""Whether a teacher can be recorded: the same input must give the same logits.

Shape letters: S samples, B batch, N points, D channels, C classes of the teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.answers import check_finite
from kdrec.recorder.precision import Precision
from kdrec.recorder.teacher import Teacher

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_TOLERANCE = 1e-3
_LOW_PRECISION_TOLERANCE = 5e-2


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found out about a teacher that can be recorded.

    Attributes:
        num_classes: Logits of one sample.
        largest_logit: Greatest absolute value among the probed.
        repeatability: By how much the logits of a sample differ at most when it stands in another
            place of another batch: the rounding of this device.
        tolerance: What that difference was allowed.
    """

    num_classes: int
    largest_logit: float
    repeatability: float
    tolerance: float


def probe_teacher(
    teacher: Teacher,
    points_SND: FloatArray,
    batch_size: int,
    *,
    samples_S: Sequence[int] | IntArray | None = None,
) -> ProbeReport:
    """Run a teacher three times over a batch and see whether it always says the same.

    Args:
        teacher: To be recorded.
        points_SND: A few samples as the teacher will get them; they are repeated to fill a batch,
            and those beyond one batch serve as other companions.
        batch_size: In which it will be recorded.
        samples_S: Their numbers, for error messages; 0, 1, ... by default.

    Raises:
        InvalidInputError: The teacher's logits are random, not finite, or depend on the rest of
            the batch.
    """
    if len(points_SND) == 0 or batch_size < 1:
        raise InvalidInputError(
            f"a probe needs at least one sample and a batch size of at least 1, got "
            f"{len(points_SND)} samples and batch size {batch_size}"
        )
    samples = np.arange(len(points_SND)) if samples_S is None else np.asarray(samples_S)
    index_B = np.arange(batch_size) % len(points_SND)
    points_BND = points_SND[index_B]
    logits_BC = teacher.logits(torch.tensor(points_BND))
    check_finite(logits_BC.cpu().numpy(), samples[index_B])
    _check_same(logits_BC, teacher.logits(torch.tensor(points_BND)))
    largest = float(logits_BC.abs().max())
    tolerance = _tolerance(teacher.options.precision) * max(1.0, largest)
    repeatability = _companion_difference(teacher, points_SND, points_BND, logits_BC)
    _check_companions(repeatability, tolerance)
    return ProbeReport(
        num_classes=logits_BC.shape[1],
        largest_logit=largest,
        repeatability=repeatability,
        tolerance=tolerance,
    )


def _tolerance(precision: Precision) -> float:
    return _TOLERANCE if precision == "float32" else _LOW_PRECISION_TOLERANCE


def _companion_difference(
    teacher: Teacher, points_SND: FloatArray, points_BND: FloatArray, logits_BC: Tensor
) -> float:
    """Difference of the first samples of a batch when they end another batch."""
    num_kept = len(points_BND) // 2
    if num_kept == 0:
        return 0.0  # a batch of one has no companions
    index = (len(points_BND) + np.arange(len(points_BND) - num_kept)) % len(points_SND)
    companions = points_SND[index]
    # Squeezed along one axis, because a set of companions that only changes its order would leave
    # the statistics of the batch as they were.
    companions[..., 0] *= 0.5
    other_BND = np.concatenate([companions, points_BND[:num_kept]])
    other_BC = teacher.logits(torch.tensor(other_BND))
    return float((other_BC[-num_kept:] - logits_BC[:num_kept]).abs().max())


def _check_same(first_BC: Tensor, second_BC: Tensor) -> None:
    if torch.equal(first_BC, second_BC):
        return
    difference = float((first_BC - second_BC).abs().max())
    raise InvalidInputError(
        f"teacher is random in eval mode: logits differ by up to {difference:.3g} between two runs "
        "of the same batch; a dropout or sampling layer is active (or, where the difference is "
        "tiny, a GPU kernel adds in no fixed order): switch it off or give it a fixed seed in "
        "every call",
        kind=ErrorKind.UNSUITABLE_TEACHER,
    )


def _check_companions(difference: float, tolerance: float) -> None:
    if difference <= tolerance:  # a NaN, which the other companions may cause, is not
        return
    raise InvalidInputError(
        f"teacher's logits of a sample depend on the rest of its batch: they differ by up to "
        f"{difference:.3g} with other companions, at most {tolerance:.3g} is rounding; a batch "
        "norm uses the statistics of the batch: let it use its running statistics",
        kind=ErrorKind.UNSUITABLE_TEACHER,
    )
