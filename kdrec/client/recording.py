"""A recording as a training loop sees it: read, replay, check.

Shape letters: B batch, N points, D channels, C teacher classes.
"""

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.augment import Array, ViewParameters, fingerprint, fingerprint_tolerance
from kdrec.client.ahead import FetchAhead
from kdrec.client.following import GrowthWatch, SteadyWatch
from kdrec.errors import ConflictError, ErrorKind, IncompleteError, InvalidInputError, NotFoundError
from kdrec.samples import SampleIdentity, SampleSet, align
from kdrec.store import (
    DEFAULT_MEMORY,
    Block,
    Correct,
    Fidelity,
    Manifest,
    ReadableStorage,
    RecordingReader,
    Scratch,
    measure_fidelity,
    read_stored_proof,
)

_ENTRIES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ProofFidelity:
    """How much of the teacher is left in a recording.

    Attributes:
        fidelity: Of the proof records that were compared.
        kept: How many proof records the recording keeps.
        worst_view: View of the worst of those compared.
        worst_sample: Its sample.
    """

    fidelity: Fidelity
    kept: int
    worst_view: int
    worst_sample: int


class Recording:
    """What one teacher said about one data set under one plan.

    Args:
        storage: Where its files come from.
        where: Its path or address.
        remote: Whether reading has to fetch.
        watch: Tells when it has grown; by default it is looked at every second.
        wait: Seconds for which `read` waits for a view that is not recorded yet.
        on_wait: Told once, before it waits, for what.
        memory: Bytes of decoded view groups that are kept; a larger one goes to `scratch`.
        scratch: By default temporary files of the system.
    """

    def __init__(
        self,
        storage: ReadableStorage,
        *,
        where: str,
        remote: bool = False,
        watch: GrowthWatch | None = None,
        wait: float = 0.0,
        on_wait: Callable[[str], None] | None = None,
        memory: int = DEFAULT_MEMORY,
        scratch: Scratch | None = None,
    ) -> None:
        self._wait = wait
        self._on_wait = on_wait
        self._watch = watch or SteadyWatch()
        self._reader = RecordingReader(storage, where=where, memory=memory, scratch=scratch)
        self._ahead = FetchAhead(storage, self._reader) if remote else None
        self._augmentation = self.manifest.plan.augmentation

    def __repr__(self) -> str:
        plan = self.manifest.plan
        return (
            f"<Recording {self.where}: {plan.views} views x {plan.data.num_samples} samples "
            f"x {self.num_classes} classes, teacher {plan.teacher.name}>"
        )

    @property
    def where(self) -> str:
        """Path or address."""
        return self._reader.where

    @property
    def manifest(self) -> Manifest:
        """Everything that is known about how it was made."""
        return self._reader.manifest

    @property
    def reader(self) -> RecordingReader:
        """The reader of the store below."""
        return self._reader

    @property
    def identity(self) -> str | None:
        """Its name among all recordings; None while it is recorded."""
        return self._reader.identity

    @property
    def num_views(self) -> int:
        """V."""
        return self.manifest.plan.views

    @property
    def num_samples(self) -> int:
        """Samples of a view."""
        return self.manifest.plan.data.num_samples

    @property
    def num_classes(self) -> int:
        """C, the teacher's columns."""
        return self.manifest.classes.num_teacher

    @property
    def channels(self) -> tuple[str, ...]:
        """Columns of a point."""
        return self.manifest.plan.data.channels

    @property
    def class_columns(self) -> npt.NDArray[np.int64]:
        """Teacher column of each class of the data; all columns without a class map."""
        class_map = self.manifest.plan.class_map
        columns = range(self.num_classes) if class_map is None else class_map
        return np.asarray(columns, dtype=np.int64)

    def progress(self) -> tuple[int, int]:
        """Blocks that are here, and blocks of the plan."""
        self._reader.refresh()
        return len(self._reader.committed()), len(self._reader.grid)

    def wait_for(self, view: int, *, timeout: float = math.inf) -> None:
        """Wait until a view of a running recording is complete.

        Args:
            view: Its number.
            timeout: Seconds after which to give up; a recorder may have died.

        Raises:
            InvalidInputError: There is no such view.
            IncompleteError: It was not complete in time, or the recording is sealed and this copy
                lacks it.
        """
        if not 0 <= view < self.num_views:
            raise InvalidInputError(f"view must be from 0 to {self.num_views - 1}, got {view}")
        deadline = time.monotonic() + timeout
        if timeout > 0 and self.identity is None and self._missing(view):
            self._tell(view, timeout)
        while missing := self._missing(view):
            left = max(0.0, deadline - time.monotonic())
            if self.identity is not None or not left:
                self._reader.entry(missing[0])  # raises, unless it has just come
            self._watch.wait(at_most=left)
            self._reader.refresh()

    def _tell(self, view: int, timeout: float) -> None:
        if self._on_wait is None:
            return
        here, total = len(self._reader.committed()), len(self._reader.grid)
        patience = "until it comes" if math.isinf(timeout) else f"for {timeout:g} seconds at most"
        self._on_wait(
            f"waiting for view {view} of {self.where}: {here} of {total} blocks are recorded; "
            f"{patience}"
        )

    def _missing(self, view: int) -> list[Block]:
        committed = set(self._reader.committed())
        wanted = (block for block in self._reader.grid if view in block.views)
        return [block for block in wanted if block not in committed]

    def correct(self) -> Correct:
        """The teacher's score over the blocks that are here.

        It stands in the ledger entry of each block: over a network many are fetched at once.
        """
        if self._ahead is not None:
            with ThreadPoolExecutor(_ENTRIES_AT_ONCE) as pool:
                list(pool.map(self._reader.entry, self._reader.committed()))
        return self._reader.correct()

    def read(
        self, view: int | npt.ArrayLike, indices: npt.ArrayLike | slice | None = None
    ) -> tuple[ViewParameters, npt.NDArray[np.float32]]:
        """Augmentation parameters and teacher logits (B, C); raises, never guesses.

        See `kdrec.store.RecordingReader.read`.
        """
        try:
            return self._reader.read(view, indices)
        except IncompleteError:
            if self._wait <= 0 or self.identity is not None:
                raise
        for number in np.unique(view):
            self.wait_for(int(number), timeout=self._wait)
        return self._reader.read(view, indices)

    def fetch_ahead(self, views: Iterable[int], indices: npt.ArrayLike | None = None) -> None:
        """Begin to fetch these views in the background, the first first; returns at once.

        Nothing happens for a recording on disk. A block that cannot be had is an error of the
        `read` that needs it.

        Args:
            views: Their numbers.
            indices: Only the blocks with these samples; all by default.
        """
        if self._ahead is not None:
            self._ahead.views(views, indices)

    def replay(self, points_BND: Array, parameters: ViewParameters) -> Array:
        """The points as the teacher saw them, one call a batch.

        Args:
            points_BND: float32, numpy or torch, any device: the samples of `parameters`, as
                preprocessed and not augmented.
            parameters: From `read`.

        Returns:
            A new array of the same kind and device.
        """
        return self._augmentation.apply(points_BND, parameters, channels=self.channels)

    def samples(self) -> SampleSet:
        """The samples the recording keeps, so that a student needs nothing else.

        Raises:
            NotFoundError: It was recorded without them.
        """
        if not self._reader.has_array("samples/points"):
            raise NotFoundError(
                f"{self.where} was recorded without its samples; give the data it was made from"
            )
        return SampleSet(
            points_SND=self._reader.array("samples/points"),
            channels=self.channels,
            labels_S=self._labels(),
            class_names=self.manifest.classes.data,
            names=self._reader.sample_names(),
        )

    def check(
        self, samples: SampleSet, *, tolerance: float = 0.0, permute: bool = False
    ) -> npt.NDArray[np.int64] | None:
        """Whether these samples are the recorded ones, and replay gives what the teacher saw.

        Args:
            samples: In the order in which records will be asked for.
            tolerance: Greatest difference of coordinates that is still the same sample.
            permute: Find the order instead of refusing another one.

        Returns:
            With `permute`, the index by which `samples.rows(index)` is in recorded order, None
            where it already is.

        Raises:
            ConflictError: They are not; names the first sample that differs, and why.
        """
        order = align(self.sample_identity(), samples, tolerance=tolerance, permute=permute)
        in_order = samples if order is None else samples.rows(order)
        self._check_replay(in_order, tolerance)
        return order

    def fidelity(self, *, most_records: int | None = None) -> ProofFidelity | None:
        """How much of the teacher is left in what is stored, on the proof records that are here.

        Args:
            most_records: Decode no more blocks once these hold so many records; None for all.

        Returns:
            None where no block with proof records is here.
        """
        blocks = set(self._reader.committed())
        stored = read_stored_proof(self._reader, blocks=blocks, most_records=most_records)
        if not len(stored):
            return None
        labels_S = self._labels()
        labels_K = (
            None if labels_S is None else self.class_columns[labels_S][stored.proof.samples_M]
        )
        found = measure_fidelity(stored.proof.logits_MC, stored.logits_MC, labels_K=labels_K)
        return ProofFidelity(
            fidelity=found,
            kept=stored.kept,
            worst_view=int(stored.proof.views_M[found.worst.row]),
            worst_sample=int(stored.proof.samples_M[found.worst.row]),
        )

    def sample_identity(self) -> SampleIdentity:
        """Digests, sketches and labels of the recorded samples."""
        return SampleIdentity(
            digests=self._reader.array("samples/digest"),
            sketches=self._reader.array("samples/sketch"),
            labels_S=self._labels(),
            class_names=self.manifest.classes.data,
            channels=self.channels,
            num_points=self.manifest.plan.data.num_points,
        )

    def _labels(self) -> npt.NDArray[np.int64] | None:
        has_labels = self._reader.has_array("samples/label")
        return self._reader.array("samples/label") if has_labels else None

    def _check_replay(self, samples: SampleSet, tolerance: float) -> None:
        proof = self._reader.proof()
        # From the generator, not from `params`: the proof must not need a block to be recorded.
        parameters = self._reader.draw(proof.views_M, proof.samples_M)
        seen_MND = self.replay(samples.points_SND[proof.samples_M], parameters)
        allowed = fingerprint_tolerance(seen_MND) + tolerance * seen_MND[0].size
        wrong = np.abs(fingerprint(seen_MND) - proof.fingerprints_MF) > allowed
        for record in np.flatnonzero(wrong.any(axis=1))[:1]:
            raise ConflictError(
                f"replay of view {proof.views_M[record]} of sample {proof.samples_M[record]} does "
                f"not give what the teacher of {self.where} saw; this kdrec replays differently "
                "from the one that recorded: report it, and record again",
                kind=ErrorKind.MISALIGNED,
            )
