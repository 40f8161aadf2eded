"""Which views an epoch reads.

Shape letters: n views of the schedule.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.errors import InvalidInputError

ViewOrder: TypeAlias = Literal["cycle", "random"]

_VIEW_STREAM = 0x5D05


@dataclass(frozen=True, slots=True)
class ViewSchedule:
    """Some views of a recording, in an order.

    `cycle` gives them in the order of their numbers, over and over. `random` gives each of them
    once in a pass, in an order drawn anew for each pass: the groups of views that are coded
    together in random order, and the views of a group in random order, so that a group is fetched
    and decoded once a pass. The order depends on the seed and the pass alone.

    Attributes:
        views: Ascending, at least one.
        group: Views of the recording that are coded together.
        order: See above.
        per_step: How many views an epoch reads of each sample.
        seed: Of the random order.
    """

    views: tuple[int, ...]
    group: int
    order: ViewOrder = "cycle"
    per_step: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in get_args(ViewOrder):
            allowed = " or ".join(map(repr, get_args(ViewOrder)))
            raise InvalidInputError(f"the order of views must be {allowed}, got {self.order!r}")
        if not 1 <= self.per_step <= len(self.views):
            raise InvalidInputError(
                f"views_per_step must be from 1 to the number of views, {len(self.views)}, got "
                f"{self.per_step}"
            )

    def of_epoch(self, epoch: int) -> tuple[int, ...]:
        """The views of an epoch, all different; `per_step` of them.

        Where a pass has some left over at its end, too few for an epoch, `random` skips them: every
        pass leaves others out.
        """
        if self.order == "cycle":
            places = range(epoch * self.per_step, (epoch + 1) * self.per_step)
            return tuple(self.views[place % len(self.views)] for place in places)
        number, row = divmod(epoch, len(self.views) // self.per_step)
        drawn = self._pass(number)
        return tuple(drawn[row * self.per_step : (row + 1) * self.per_step])

    def second(self, epoch: int) -> int:
        """Another view than the first of an epoch, if there are two."""
        if self.order == "cycle":
            return self.views[(epoch * self.per_step + 1) % len(self.views)]
        number, row = divmod(epoch, len(self.views) // self.per_step)
        drawn = self._pass(number)
        return drawn[(row * self.per_step + 1) % len(drawn)]

    def _pass(self, number: int) -> list[int]:
        views_n = np.asarray(self.views)
        groups_n = views_n // self.group
        keys = self._words(number, views_n, 0), self._words(number, groups_n, 1)
        drawn = np.lexsort(keys)
        found: list[int] = views_n[drawn].tolist()
        return found

    def _words(self, number: int, places: npt.NDArray[np.int64], word: int) -> rng.WordArray:
        words = rng.words(
            self.seed, view=number, stream=_VIEW_STREAM, samples_B=places, num_words=2
        )
        return words[:, word]


def choose_views(views: Iterable[int] | None, num_views: int) -> tuple[int, ...]:
    """Some views, ascending; all where none are named.

    Raises:
        InvalidInputError: One is no number, out of range or named twice, or there is none.
    """
    chosen: set[int] = set()
    for named in range(num_views) if views is None else views:
        try:
            view = index(named)
        except TypeError as error:
            raise InvalidInputError(f"views must be whole numbers, got {named!r}") from error
        if not 0 <= view < num_views:
            raise InvalidInputError(f"view must be from 0 to {num_views - 1}, got {view}")
        if view in chosen:
            raise InvalidInputError(f"views must name none twice, got {view} again")
        chosen.add(view)
    if not chosen:
        raise InvalidInputError("views must name at least one")
    return tuple(sorted(chosen))
