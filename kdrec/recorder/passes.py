"""Records through the teacher, always in batches of the plan's shape.

A batch is never shorter than the plan says and never holds records of two blocks: both would change
the last bits of logits on a CPU. The last batch is padded by repeating its last record.

On a GPU nothing here waits for it: numbers go there through pinned memory, batches are asked one
after the other, and the logits come back by themselves (`kdrec.recorder.answers`).

Shape letters: K records, B batch, N points, D channels, C classes, F sums of a fingerprint, G views
of a block, S its samples, P parameters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdrec.augment import Array, Augmentation, ViewParameters, fingerprint
from kdrec.recorder.answers import Answers, collect_answers
from kdrec.recorder.devices import memory_named
from kdrec.recorder.resident import ResidentPoints, resident_points, to_device
from kdrec.recorder.teacher import Teacher
from kdrec.samples import SampleSet
from kdrec.store import Block, Plan

Index = npt.NDArray[np.int64]


def _ignore(count: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedBlock:
    """A block that the teacher was asked; on a GPU it may still be at it.

    Attributes:
        parameters_GSP: Of its records.
        answers: Of the same records, view after view.
    """

    parameters_GSP: npt.NDArray[np.float32]
    answers: Answers

    def wait(self) -> Array:
        """The teacher's logits, when they are there; from any thread. On its device if they stay.

        Raises:
            InvalidInputError: A logit is NaN or infinite; names the record.
        """
        logits_KC = self.answers.wait()
        return logits_KC.reshape(*self.parameters_GSP.shape[:2], -1)


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
        resident: Points that lie on the device, None to bring each batch there.
    """

    teacher: Teacher
    samples: SampleSet
    augmentation: Augmentation
    seed: int
    batch_size: int
    numbers_S: Index | None = None
    resident: ResidentPoints | None = None

    @classmethod
    def under(cls, plan: Plan, teacher: Teacher, samples: SampleSet) -> "TeacherPass":
        """The pass of a plan."""
        return cls(
            teacher,
            samples,
            plan.augmentation,
            plan.seed,
            plan.batch_size,
            resident=resident_points(samples, teacher.device),
        )

    def with_batch_size(self, batch_size: int) -> "TeacherPass":
        """The same in batches of another size, which changes the last bits of what comes out."""
        return self if batch_size == self.batch_size else replace(self, batch_size=batch_size)

    def block(self, block: Block) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Parameters (G, S, P) and logits (G, S, C) of a block, view after view."""
        asked = self.ask(block)
        logits_GSC: npt.NDArray[np.float32] = asked.wait()
        return asked.parameters_GSP, logits_GSC

    def ask(
        self,
        block: Block,
        *,
        stay: bool = False,
        on_records: Callable[[int], None] = _ignore,
    ) -> AskedBlock:
        """Ask the teacher about a block, without waiting for a GPU to answer.

        Args:
            block: Of the plan.
            stay: Whether its logits stay on a GPU.
            on_records: Called after each batch with its number of records.

        Raises:
            InvalidInputError: The device has not the memory for a batch, or the teacher fails.
        """
        samples_S = np.asarray(block.samples)
        with memory_named(self.teacher.device, self.batch_size):
            held = self._holding(block)
            num_records = len(block.views) * len(samples_S)
            answers = collect_answers(self.teacher.device, num_records, stay=stay)
            parameters = []
            for view in block.views:
                drawn = self.augmentation.draw(self.seed, views=view, samples_B=samples_S)
                parameters.append(drawn.values_BP)
                held.collect(drawn, answers, on_records=on_records)
        return AskedBlock(np.stack(parameters), answers)

    def logits(self, records: ViewParameters) -> npt.NDArray[np.float32]:
        """Teacher logits of K records, shape (K, C).

        Raises:
            InvalidInputError: A logit is NaN or infinite; names the record.
        """
        with memory_named(self.teacher.device, self.batch_size):
            answers = collect_answers(self.teacher.device, len(records))
            self.collect(records, answers)
        logits_KC: npt.NDArray[np.float32] = answers.wait()
        return logits_KC

    def collect(
        self,
        records: ViewParameters,
        answers: Answers,
        *,
        on_records: Callable[[int], None] = _ignore,
    ) -> None:
        """Ask the teacher about K records, and let its answers come."""
        for inputs_BND, padded, count in self._batches(records):
            answers.add(self._ask(inputs_BND, padded), padded.rows(slice(count)))
            on_records(count)

    def fingerprints(self, records: ViewParameters) -> npt.NDArray[np.float64]:
        """Of the inputs the teacher gets, shape (K, F)."""
        batches = self._batches(records)
        return np.concatenate([fingerprint(i.cpu().numpy()[:count]) for i, _, count in batches])

    def _holding(self, block: Block) -> "TeacherPass":
        """Itself, with the block's points on the GPU where those of all samples have no room."""
        if self.resident is not None or self.numbers_S is not None:
            return self
        resident = resident_points(self.samples, self.teacher.device, span=block.samples)
        return self if resident is None else replace(self, resident=resident)

    def _ask(self, inputs_BND: Tensor, records: ViewParameters) -> Tensor:
        votes = self.teacher.options.votes
        if votes is None:
            return self.teacher.logits(inputs_BND)
        inputs = votes.inputs(inputs_BND, records, self.samples.channels)
        return torch.stack([self.teacher.logits(each_BND) for each_BND in inputs]).mean(dim=0)

    def _batches(self, records: ViewParameters) -> Iterator[tuple[Tensor, ViewParameters, int]]:
        """What the teacher gets; of which records, padded; how many of them are no padding."""
        device, size = self.teacher.device, self.batch_size
        num_batches = -(-len(records) // size)
        padded = records.rows(np.minimum(np.arange(num_batches * size), len(records) - 1))
        places_K = self._places(padded.samples_B)
        numbers_KW = to_device(self.augmentation.numbers(padded), device)
        there_K = None if self.resident is None else to_device(places_K, device)
        transform = self._transform()
        for start in range(0, len(padded), size):
            batch = slice(start, start + size)
            chosen = padded.rows(batch)
            if self.resident is None or there_K is None:
                points_BND = to_device(self.samples.points_SND[places_K[batch]], device)
            else:
                points_BND = self.resident.take(there_K[batch])
            index_BK = self.augmentation.subset_index(chosen, self.samples.num_points)
            inputs_BND = transform(
                points_BND,
                numbers_KW[batch],
                None if index_BK is None else to_device(index_BK, device),
                channels=self.samples.channels,
            )
            yield inputs_BND, chosen, min(size, len(records) - start)

    def _transform(self) -> Callable[..., Any]:
        """The augmentation; fused into few kernels where the teacher is compiled for a GPU."""
        if self.teacher.compiled is not None and self.teacher.device.type == "cuda":
            return _fused(self.augmentation)
        return self.augmentation.transform

    def _places(self, samples_B: Index) -> Index:
        if self.numbers_S is None:
            return samples_B
        return np.searchsorted(self.numbers_S, samples_B).astype(np.int64)


@lru_cache(maxsize=8)
def _fused(augmentation: Augmentation) -> Callable[..., Any]:
    return torch.compile(augmentation.transform, dynamic=False)
