"""Logits of the classes that were kept, and what is known of the others.

Of every record the largest logits are kept, with their classes, and two sums over the exponentials:
of all classes and of those not kept. The rule for what is missing: the mass of the classes not kept
lies on them evenly.

Shape letters: B records, K kept classes, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError

MOST_DENSE_BYTES = 4 * 2**30
_ALL, _REST = 0, 1


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
    def of(cls, logits_BC: npt.NDArray[np.float32], kept: int) -> "SparseLogits":
        """The `kept` largest logits of each record."""
        classes_BK = _largest(logits_BC, min(kept, logits_BC.shape[1]))
        values_BK = np.take_along_axis(logits_BC, classes_BK, axis=1)
        order_BK = np.argsort(-values_BK, axis=1, kind="stable")
        rest_BC = logits_BC.astype(np.float64)
        np.put_along_axis(rest_BC, classes_BK, -np.inf, axis=1)
        mass_B2 = np.stack([_log_sum(logits_BC.astype(np.float64)), _log_sum(rest_BC)], axis=1)
        return cls(
            np.take_along_axis(values_BK, order_BK, axis=1),
            np.take_along_axis(classes_BK, order_BK, axis=1),
            np.maximum(mass_B2, np.finfo(np.float32).min).astype(np.float32),
            logits_BC.shape[1],
        )

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


def _largest(logits_BC: npt.NDArray[np.float32], kept: int) -> npt.NDArray[np.int64]:
    """Classes of the largest logits, ascending; the smaller class first among equals.

    So that the same logits give the same bytes everywhere, which a partition alone does not.
    """
    least_B1 = -np.partition(-logits_BC, kept - 1, axis=1)[:, kept - 1 : kept]
    above_BC, equal_BC = logits_BC > least_B1, logits_BC == least_B1
    wanted_B1 = kept - above_BC.sum(axis=1, keepdims=True)
    chosen_BC = above_BC | (equal_BC & (np.cumsum(equal_BC, axis=1) <= wanted_B1))
    return np.nonzero(chosen_BC)[1].reshape(len(logits_BC), kept)


def _log_sum(values_BC: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    greatest_B = values_BC.max(axis=1)
    floor_B = np.where(np.isfinite(greatest_B), greatest_B, 0.0)
    with np.errstate(divide="ignore"):
        total_B: npt.NDArray[np.float64] = np.log(np.exp(values_BC - floor_B[:, None]).sum(axis=1))
    return total_B + floor_B
