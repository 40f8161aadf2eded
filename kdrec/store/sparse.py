"""Logits of the classes that were kept, and what is known of the others.

Of every record the largest logits are kept, with their classes, and two sums over the exponentials:
of all classes and of those not kept. The rule for what is missing: the mass of the classes not kept
lies on them evenly.

Shape letters: B records, K kept classes, C classes.
"""

from dataclasses import dataclass

import array_api_compat
import numpy as np
import numpy.typing as npt

from kdrec.augment import Array, namespace, to_host
from kdrec.errors import InvalidInputError

MOST_DENSE_BYTES = 4 * 2**30
_ALL, _REST = 0, 1
_VALUES_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class SparseLogits:
    """See the module.

    Attributes:
        values_BK: Logits of the kept classes, the largest first, float32.
        classes_BK: Their classes.
        mass_B2: Logarithm of the sum of exponentials over all classes, and over those not kept
            (the least float32 where all are kept).
        num_classes: C.
    """

    values_BK: npt.NDArray[np.float32]
    classes_BK: npt.NDArray[np.integer]
    mass_B2: npt.NDArray[np.float32]
    num_classes: int

    @classmethod
    def of(cls, logits_BC: Array, kept: int) -> "SparseLogits":
        """The `kept` largest logits of each record, found where they lie: on a GPU, for instance.

        Args:
            logits_BC: float32, of numpy or torch.
            kept: At most so many.
        """
        num_records, num_classes = logits_BC.shape
        rows = max(1, _VALUES_AT_ONCE // num_classes)
        starts = range(0, max(1, num_records), rows)
        kept = min(kept, num_classes)
        pieces = [_reduced(logits_BC[start : start + rows], kept) for start in starts]
        values_BK, classes_BK, mass_B2 = map(np.concatenate, zip(*pieces, strict=True))
        return cls(values_BK, classes_BK, mass_B2, num_classes)

    @property
    def rest(self) -> npt.NDArray[np.float32]:
        """The logit of every class that was not kept, by the rule, (B,)."""
        left = self.num_classes - self.values_BK.shape[1]
        return self.mass_B2[:, _REST] - np.float32(np.log(max(1, left)))

    def dense_logits(self) -> npt.NDArray[np.float32]:
        """Logits of all classes, (B, C).

        Raises:
            InvalidInputError: They would take more memory than is sensible.
        """
        needed = 4 * len(self.values_BK) * self.num_classes
        if needed > MOST_DENSE_BYTES:
            raise InvalidInputError(
                f"{len(self.values_BK)} records of {self.num_classes} classes would take {needed} "
                f"bytes, at most {MOST_DENSE_BYTES} are allowed; read fewer at once, or sparse"
            )
        dense_BC = np.empty((len(self.values_BK), self.num_classes), dtype=np.float32)
        dense_BC[:] = self.rest[:, None]
        np.put_along_axis(dense_BC, self.classes_BK.astype(np.int64), self.values_BK, axis=1)
        return dense_BC

    def log_probs(
        self, temperature: float = 1.0
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Logarithms of the softmax: of the kept classes (B, K), of each class not kept (B,).

        Args:
            temperature: Divides the logits before the softmax.

        Raises:
            InvalidInputError: The temperature is not positive.
        """
        if not temperature > 0:
            raise InvalidInputError(f"temperature must be above 0, got {temperature}")
        values_BK = self.values_BK.astype(np.float64) / temperature
        rest_B = self.rest.astype(np.float64) / temperature
        left = self.num_classes - self.values_BK.shape[1]
        total_B = _log_sum(values_BK)
        if left:
            total_B = np.logaddexp(total_B, rest_B + np.log(left))
        return values_BK - total_B[:, None], rest_B - total_B


def _reduced(
    logits_BC: Array, kept: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Largest logits, their classes, and masses; see `SparseLogits`."""
    xp = namespace(logits_BC)
    chosen_BC = _chosen(logits_BC, kept)
    exact_BC = xp.astype(logits_BC, xp.float64)
    rest_BC = xp.where(chosen_BC, -xp.inf, exact_BC)
    mass_B2 = to_host(xp.stack([_log_sum(exact_BC), _log_sum(rest_BC)], axis=1))
    values_BK = to_host(logits_BC[chosen_BC]).reshape(-1, kept)
    classes_BK = to_host(xp.nonzero(chosen_BC)[1]).reshape(-1, kept)
    order_BK = np.argsort(-values_BK, axis=1, kind="stable")
    return (
        np.take_along_axis(values_BK, order_BK, axis=1),
        np.take_along_axis(classes_BK, order_BK, axis=1),
        np.maximum(mass_B2, np.finfo(np.float32).min).astype(np.float32),
    )


def _chosen(logits_BC: Array, kept: int) -> Array:
    """Which are the largest logits of each record; the smaller class first among equals.

    So that the same logits give the same bytes everywhere, which a partition alone does not.
    """
    xp = namespace(logits_BC)
    least_B1 = _least_kept(logits_BC, kept)
    above_BC, equal_BC = logits_BC > least_B1, logits_BC == least_B1
    wanted_B1 = kept - xp.sum(xp.astype(above_BC, xp.int32), axis=1, keepdims=True)
    number_BC = xp.cumulative_sum(xp.astype(equal_BC, xp.int32), axis=1)
    return above_BC | (equal_BC & (number_BC <= wanted_B1))


def _least_kept(logits_BC: Array, kept: int) -> Array:
    if array_api_compat.is_numpy_array(logits_BC):  # it need not sort them all; a GPU does not mind
        return -np.partition(-logits_BC, kept - 1, axis=1)[:, kept - 1 : kept]
    return namespace(logits_BC).sort(logits_BC, axis=1, descending=True)[:, kept - 1 : kept]


def _log_sum(values_BC: Array) -> Array:
    xp = namespace(values_BC)
    greatest_B = xp.max(values_BC, axis=1)
    floor_B = xp.where(xp.isfinite(greatest_B), greatest_B, xp.zeros_like(greatest_B))
    with np.errstate(divide="ignore"):
        return xp.log(xp.sum(xp.exp(values_BC - floor_B[:, None]), axis=1)) + floor_B
