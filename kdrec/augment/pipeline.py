"""The ordered list of operations: draws the parameters of a view, applies them to points.

Shape letters: B batch, N points, D channels, P parameters, W numbers made of them, K points kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from kdrec import rng
from kdrec.augment.arrays import Array, like
from kdrec.augment.channels import XYZ
from kdrec.augment.columns import Column
from kdrec.augment.operations import Operation, Subset
from kdrec.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """With what a batch of records was augmented: enough to replay it.

    Behaves as its values where numpy wants an array, and gives a column by its name.

    Attributes:
        names: Column names, P of them.
        values_BP: float32, on the grid of the columns.
        seed: The recording's; with view and sample it addresses what is drawn and not stored.
        views_B: View of each record.
        samples_B: Sample of each record.
    """

    names: tuple[str, ...]
    values_BP: npt.NDArray[np.float32]
    seed: int
    views_B: npt.NDArray[np.int64]
    samples_B: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values_BP)

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self.names:
            raise KeyError(f"no parameter {name!r}; there are: {', '.join(self.names) or 'none'}")
        return self.values_BP[:, self.names.index(name)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values_BP, dtype=dtype, copy=copy)

    def rows(self, index: Any) -> "ViewParameters":
        """The parameters of some of the records."""
        return replace(
            self,
            values_BP=self.values_BP[index],
            views_B=self.views_B[index],
            samples_B=self.samples_B[index],
        )


class Augmentation(BaseModel):
    """An ordered, versioned list of operations.

    Attributes:
        version: Of the meaning of the operations: the same list replays the same for ever.
        operations: Applied first to last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    operations: tuple[Operation, ...] = ()

    @model_validator(mode="after")
    def _subset_once(self) -> "Augmentation":
        if sum(isinstance(operation, Subset) for operation in self.operations) > 1:
            raise ValueError("subset may stand only once in an augmentation")
        return self

    @property
    def columns(self) -> tuple[Column, ...]:
        """All stored parameters in order; a repeated name gets a number: rotate_y, rotate_y_2."""
        seen: dict[str, int] = {}
        columns = []
        for operation in self.operations:
            for column in operation.columns():
                seen[column.name] = seen.get(column.name, 0) + 1
                number = seen[column.name]
                name = column.name if number == 1 else f"{column.name}_{number}"
                columns.append(replace(column, name=name))
        return tuple(columns)

    def num_points(self, num_points: int) -> int:
        """How many points are left of `num_points`.

        Raises:
            InvalidInputError: A subset asks for more than there are.
        """
        for operation in self.operations:
            if isinstance(operation, Subset):
                if operation.count > num_points:
                    raise InvalidInputError(
                        f"subset={operation.count} asks for more than the {num_points} points "
                        f"of a cloud; give at most {num_points}"
                    )
                return operation.count
        return num_points

    def draw(
        self, seed: int, *, views: int | npt.ArrayLike, samples_B: npt.ArrayLike
    ) -> ViewParameters:
        """The parameters of some records, the same whatever else is drawn.

        Args:
            seed: The recording's.
            views: One view for all, or one for each sample.
            samples_B: Sample numbers in any order.
        """
        samples = np.atleast_1d(np.asarray(samples_B, dtype=np.int64))
        views_B = np.broadcast_to(np.asarray(views, dtype=np.int64), samples.shape)
        columns = self.columns
        values_BP = np.empty((len(samples), len(columns)), dtype=np.float32)
        for view in np.unique(views_B).tolist():
            rows = views_B == view
            values_BP[rows] = self._draw_view(seed, view, samples[rows])
        return ViewParameters(
            names=tuple(column.name for column in columns),
            values_BP=values_BP,
            seed=seed,
            views_B=views_B,
            samples_B=samples,
        )

    def _draw_view(
        self, seed: int, view: int, samples_B: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        values = [np.empty((len(samples_B), 0), np.float32)]
        for place, operation in enumerate(self.operations):
            columns = operation.columns()
            if columns:
                words_BP = rng.words(
                    seed, view=view, stream=place, samples_B=samples_B, num_words=len(columns)
                )
                steps_P = np.array([column.step for column in columns])
                values.append((operation.draw(words_BP) * steps_P).astype(np.float32))
        return np.concatenate(values, axis=1)

    def apply(
        self, points_BND: Array, parameters: ViewParameters, *, channels: Sequence[str] = XYZ
    ) -> Array:
        """The points as the teacher saw them.

        Args:
            points_BND: float32, numpy or torch, any device, as preprocessed (not augmented).
            parameters: Of the same B records.
            channels: Names of the D columns; normals turn with the shape, the rest stays.

        Returns:
            A new array of the same kind and device, shape (B, points left, D).

        Raises:
            InvalidInputError: Shape or dtype do not fit.
        """
        _check_points(points_BND, parameters, channels)
        index_BK = self.subset_index(parameters, points_BND.shape[1])
        return self.transform(
            points_BND,
            like(self.numbers(parameters), points_BND),
            None if index_BK is None else like(index_BK, points_BND),
            channels=channels,
        )

    def numbers(self, parameters: ViewParameters) -> npt.NDArray[np.float32]:
        """What `transform` computes with, (B, W): the parameters of all operations, made ready."""
        parts, start = [np.empty((len(parameters), 0))], 0
        for operation in self.operations:
            if not isinstance(operation, Subset):
                stop = start + len(operation.columns())
                values_BP = parameters.values_BP[:, start:stop].astype(np.float64)
                parts.append(operation.numbers(values_BP))
                start = stop
        return np.concatenate(parts, axis=1).astype(np.float32)

    def subset_index(self, parameters: ViewParameters, num_points: int) -> rng.IntArray | None:
        """Which of so many points a subset keeps of each record, (B, K); None without a subset."""
        for place, operation in enumerate(self.operations):
            if isinstance(operation, Subset):
                return self._subset_index(place, operation, num_points, parameters)
        return None

    def transform(
        self,
        points_BND: Array,
        numbers_BW: Array,
        index_BK: Array | None,
        *,
        channels: Sequence[str] = XYZ,
    ) -> Array:
        """What `apply` does, once everything lies on the device of the points.

        Args:
            points_BND: As for `apply`.
            numbers_BW: Of `numbers`.
            index_BK: Of `subset_index`.
            channels: As for `apply`.
        """
        start = 0
        for operation in self.operations:
            if isinstance(operation, Subset):
                assert index_BK is not None, "subset_index gives it"
                points_BND = operation.take(points_BND, index_BK)
                continue
            stop = start + operation.num_numbers
            points_BND = operation.apply(points_BND, numbers_BW[:, start:stop], tuple(channels))
            start = stop
        return points_BND

    def _subset_index(
        self, place: int, subset: Subset, num_points: int, parameters: ViewParameters
    ) -> rng.IntArray:
        self.num_points(num_points)
        index_BK = np.empty((len(parameters), subset.count), dtype=np.int64)
        for view in np.unique(parameters.views_B):
            rows = parameters.views_B == view
            words = rng.words(
                parameters.seed,
                view=int(view),
                stream=place,
                samples_B=parameters.samples_B[rows],
                num_words=num_points,
            )
            index_BK[rows] = rng.permutation(words)[:, : subset.count]
        return index_BK


def _check_points(points_BND: Array, parameters: ViewParameters, channels: Sequence[str]) -> None:
    if points_BND.ndim != 3 or points_BND.shape[-1] != len(channels):
        raise InvalidInputError(
            f"points must have shape (batch, points, {len(channels)}) for the channels "
            f"{', '.join(channels)}; got {tuple(points_BND.shape)}"
        )
    if len(points_BND) != len(parameters):
        raise InvalidInputError(
            f"{len(points_BND)} clouds do not go with the parameters of {len(parameters)} records"
        )
    if not str(points_BND.dtype).endswith("float32"):
        raise InvalidInputError(f"points must be float32, got {points_BND.dtype}")
