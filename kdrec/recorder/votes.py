"""A teacher that looks at every record several times.

Each vote applies one more draw of an augmentation to the view that the student will see; the record
is the mean of the logits. The draws are addressed like all others, by (seed, view, sample) and the
number of the vote, so that every process draws the same.

Shape letters: B batch, N points, D channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from kdrec import rng
from kdrec.augment import (
    Augmentation,
    ViewParameters,
    format_augmentation,
    parse_augmentation,
)
from kdrec.augment.operations import Normalize
from kdrec.errors import InvalidInputError

_STREAM = 0x70E5
_COUNT, _AUGMENT = "votes.count", "votes.augment"


@dataclass(frozen=True, slots=True)
class Votes:
    """How often a teacher looks, and at what.

    Attributes:
        count: K.
        augmentation: Applied to the view, drawn anew for each vote.

    Raises:
        InvalidInputError: There are no votes, or all would be alike.
    """

    count: int
    augmentation: Augmentation

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidInputError(f"votes must be at least 1, got {self.count}")
        if all(isinstance(operation, Normalize) for operation in self.augmentation.operations):
            raise InvalidInputError(
                f"{self.count} votes under {format_augmentation(self.augmentation)}, of which "
                "nothing is drawn, would all be alike; say with "
                "--vote-augment what is drawn for each, scale=0.9:1.1 for instance"
            )

    @property
    def described(self) -> dict[str, int | str]:
        """For the plan; no argument of a factory has a dot in its name."""
        return {
            _COUNT: self.count,
            _AUGMENT: format_augmentation(self.augmentation),
        }

    def inputs(
        self, view_BND: Tensor, records: ViewParameters, channels: Sequence[str]
    ) -> Iterator[Tensor]:
        """What the teacher gets for each vote.

        Args:
            view_BND: The points as the student will see them.
            records: Which records they are.
            channels: Names of the D columns.
        """
        for vote in range(self.count):
            drawn = self.augmentation.draw(
                _seed(records.seed, vote), views=records.views_B, samples_B=records.samples_B
            )
            yield self.augmentation.apply(view_BND, drawn, channels=channels)


def recorded_votes(described: Mapping[str, int | float | str]) -> Votes | None:
    """The votes of a plan, from the arguments that describe its teacher; None without any."""
    if _COUNT not in described:
        return None
    return Votes(int(described[_COUNT]), parse_augmentation(str(described[_AUGMENT])))


def _seed(seed: int, vote: int) -> int:
    words = rng.words(seed, view=vote, stream=_STREAM, samples_B=[0], num_words=1)
    return int(words[0, 0])
