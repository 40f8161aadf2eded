"""Records through the teacher, always in batches of the plan's shape.

A batch is never shorter than the plan says and never holds records of two blocks: both would change
the last bits of logits on a CPU. The last batch is padded by repeating its last record.

Shape letters: K records, B batch, N points, D channels, C classes, F sums of a fingerprint.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from kdrec.augment import Augmentation, ViewParameters, fingerprint
from kdrec.recorder.teacher import Teacher, check_finite
from kdrec.samples import SampleSet
from kdrec.store import Block, Plan

Index = npt.NDArray[np.int64]
_RESIDENT_SHARE = 0.5


def _ignore(count: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class TeacherPass:
    """The teacher under one plan, ready for any of its records.

    Attributes:
        teacher: On its device.
        samples: All of the plan, in order.
        augmentation: Of the plan.
        seed: Of the plan.
        batch_size: Of the plan.
        numbers_S: By which number each sample is drawn, ascending; None where that is its place.
        resident_SND: The samples' points on the device, None to bring each batch there.
    """

    teacher: Teacher
    samples: SampleSet
    augmentation: Augmentation
    seed: int
    batch_size: int
    numbers_S: Index | None = None
    resident_SND: torch.Tensor | None = None

    @classmethod
    def under(cls, plan: Plan, teacher: Teacher, samples: SampleSet) -> "TeacherPass":
        """The pass of a plan."""
        resident_SND = resident_points(samples, teacher.device)
        return cls(
            teacher,
            samples,
            plan.augmentation,
            plan.seed,
            plan.batch_size,
            resident_SND=resident_SND,
        )

    def with_batch_size(self, batch_size: int) -> "TeacherPass":
        """The same in batches of another size, which changes the last bits of what comes out."""
        return self if batch_size == self.batch_size else replace(self, batch_size=batch_size)

    def block(
        self, block: Block, *, on_records: Callable[[int], None] = _ignore
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Parameters (G, S, P) and logits (G, S, C) of a block, view after view.

        Args:
            block: Of the plan.
            on_records: Called after each batch with its number of records.
        """
        samples_S = np.asarray(block.samples)
        parameters, logits = [], []
        for view in block.views:
            drawn = self.augmentation.draw(self.seed, views=view, samples_B=samples_S)
            parameters.append(drawn.values_BP)
            logits.append(self.logits(drawn, on_records=on_records))
        return np.stack(parameters), np.stack(logits)

    def logits(
        self, records: ViewParameters, *, on_records: Callable[[int], None] = _ignore
    ) -> npt.NDArray[np.float32]:
        """Teacher logits of K records, shape (K, C).

        Raises:
            InvalidInputError: A logit is NaN or infinite; names the record.
        """
        pieces = []
        for rows, inputs_BND, padded in self._batches(records):
            logits_BC = self._ask(inputs_BND, padded).cpu().numpy()[: len(rows)]
            check_finite(logits_BC, records.samples_B[rows], views_B=records.views_B[rows])
            pieces.append(logits_BC)
            on_records(len(rows))
        return np.concatenate(pieces)

    def fingerprints(self, records: ViewParameters) -> npt.NDArray[np.float64]:
        """Of the inputs the teacher gets, shape (K, F)."""
        return np.concatenate(
            [fingerprint(i.cpu().numpy()[: len(rows)]) for rows, i, _ in self._batches(records)]
        )

    def _ask(self, inputs_BND: torch.Tensor, records: ViewParameters) -> torch.Tensor:
        votes = self.teacher.options.votes
        if votes is None:
            return self.teacher.logits(inputs_BND)
        inputs = votes.inputs(inputs_BND, records, self.samples.channels)
        return torch.stack([self.teacher.logits(each_BND) for each_BND in inputs]).mean(dim=0)

    def _batches(
        self, records: ViewParameters
    ) -> Iterator[tuple[Index, torch.Tensor, ViewParameters]]:
        """Row numbers of each batch; views and records padded to the batch size."""
        for start in range(0, len(records), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(records)))
            padded = np.minimum(np.arange(start, start + self.batch_size), rows[-1])
            chosen = records.rows(padded)
            places = self._places(chosen.samples_B)
            points_BND = self._points(places)
            yield (
                rows,
                self.augmentation.apply(points_BND, chosen, channels=self.samples.channels),
                chosen,
            )

    def _points(self, places: Index) -> torch.Tensor:
        if self.resident_SND is not None:
            return self.resident_SND[torch.from_numpy(places).to(self.resident_SND.device)]
        return torch.from_numpy(self.samples.points_SND[places]).to(self.teacher.device)

    def _places(self, samples_B: Index) -> Index:
        if self.numbers_S is None:
            return samples_B
        return np.searchsorted(self.numbers_S, samples_B).astype(np.int64)


def resident_points(samples: SampleSet, device: torch.device) -> torch.Tensor | None:
    """All points on a GPU where they take at most half of what is free there; None elsewhere.

    The other half is the teacher's: what it needs at most is not known before it runs.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if samples.points_SND.nbytes > _RESIDENT_SHARE * free:
        return None
    return torch.from_numpy(samples.points_SND).to(device)
