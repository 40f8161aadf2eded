"""The sums of an epoch, and the clock of its waiting.

Shape letters: B batch, C classes.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.student.losses import LossTerms

T = TypeVar("T")


class EpochTally:
    """Means over the samples of an epoch.

    The numbers of a step are fetched when the next step adds its own: the host then prepares a
    batch while the device still computes.

    Args:
        epoch: For the error.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._sums = [0.0] * 4
        self._num_samples = 0
        self._pending: tuple[int, int, Tensor] | None = None

    def add(self, step: int, terms: LossTerms, correct_B: Tensor | None, num_samples: int) -> None:
        """Count a step.

        Raises:
            InvalidInputError: The loss of the step before is not finite.
        """
        parts = [terms.total, terms.label, terms.teacher]
        zero = terms.total.new_zeros(())
        numbers = [zero if part is None else part.detach() for part in parts]
        correct = zero if correct_B is None else correct_B.float().mean()
        self._settle()
        self._pending = step, num_samples, torch.stack([*numbers, correct])

    def means(self) -> tuple[float, float, float, float]:
        """Loss, its label part, its teacher part, accuracy; 0 for what was not given.

        Raises:
            InvalidInputError: The loss of the last step is not finite.
        """
        self._settle()
        loss, label, teacher, accuracy = (value / self._num_samples for value in self._sums)
        return loss, label, teacher, accuracy

    def _settle(self) -> None:
        if self._pending is None:
            return
        step, num_samples, numbers = self._pending
        values = numbers.tolist()
        if not math.isfinite(values[0]):
            raise InvalidInputError(
                f"the loss became {values[0]} in epoch {self._epoch}, step {step}; the weights of "
                "the last complete epoch are kept. Train anew with a smaller learning_rate or a "
                "higher temperature"
            )
        self._sums = [a + b * num_samples for a, b in zip(self._sums, values, strict=True)]
        self._num_samples += num_samples
        self._pending = None


class Waiting(Generic[T]):
    """Iterates, and measures how long the next item is waited for.

    Attributes:
        seconds: So far.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[T]:
        started = time.perf_counter()
        for item in self._items:
            self.seconds += time.perf_counter() - started
            yield item
            started = time.perf_counter()
