"""The sums of an epoch, and the clock of its waiting.

Shape letters: B batch.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.student.objective import LossTerms
from kdrec.student.processes import Processes

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
        self._names: list[str] = []
        self._sums = [0.0]
        self._num_samples = 0
        self._pending: tuple[int, int, Tensor] | None = None
        self._device = torch.device("cpu")

    def add(self, step: int, terms: LossTerms, correct_B: Tensor | None, num_samples: int) -> None:
        """Count a step.

        Raises:
            InvalidInputError: The loss of the step before is not finite.
        """
        numbers = {"loss": terms.total, **terms.parts}
        if correct_B is not None:
            numbers["accuracy"] = correct_B.float().mean()
        self._settle()
        self._names = list(numbers)
        self._pending = step, num_samples, torch.stack([n.detach() for n in numbers.values()])

    def means(self, processes: Processes) -> dict[str, float]:
        """The `loss`, its parts by name, and the `accuracy` where it is known.

        Raises:
            InvalidInputError: The loss of the last step is not finite.
        """
        self._settle()
        own = torch.tensor([*self._sums, self._num_samples], dtype=torch.float64)
        *sums, num_samples = processes.total(own.to(self._device)).tolist()
        return {name: value / num_samples for name, value in zip(self._names, sums, strict=True)}

    def _settle(self) -> None:
        if self._pending is None:
            return
        step, num_samples, numbers = self._pending
        self._device = numbers.device
        values = numbers.tolist()
        if not math.isfinite(values[0]):
            raise InvalidInputError(
                f"the loss became {values[0]} in epoch {self._epoch}, step {step}; the weights of "
                "the last complete epoch are kept. Train anew with a smaller learning_rate or a "
                "higher temperature"
            )
        before = self._sums if self._num_samples else [0.0] * len(values)
        self._sums = [a + b * num_samples for a, b in zip(before, values, strict=True)]
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
