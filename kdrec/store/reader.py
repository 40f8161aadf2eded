"""Reading a recording, wherever its files come from.

Files are read whole, checked against the ledger, decoded chunk by chunk with their checksums, and
kept decoded by view group; records are then gathered in memory. What is not committed, not here or
damaged raises: no path returns a fill value.

Shape letters: B batch, G views of a group, S samples, P parameters, C classes.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.augment import ViewParameters
from kdrec.errors import InvalidInputError
from kdrec.store.array_reader import ArrayReader
from kdrec.store.arrays import AnyArray
from kdrec.store.contents import ProofRecords
from kdrec.store.decoded_groups import DecodedGroup, DecodedGroups, Scratch, in_memory
from kdrec.store.encodings import Encoding, TopK, find_encoding
from kdrec.store.ledger import Correct, LedgerEntry, Seal
from kdrec.store.ledger_reader import LedgerReader
from kdrec.store.manifest import Bound, Manifest
from kdrec.store.plan import Block, BlockGrid
from kdrec.store.process_lock import ProcessLock
from kdrec.store.sparse import SparseLogits
from kdrec.store.storage import ReadableStorage

DEFAULT_MEMORY = 2 * 2**30


class RecordingReader:
    """Reads one recording.

    Args:
        storage: Where its files come from.
        where: Its name or address, for errors.
        memory: Bytes of decoded records kept; a view group that is larger goes to a temporary
            memory-mapped file.
        remedy: What to do about damage, for errors; by default to look how far it goes.
        scratch: Where such files lie; by default in the system's temporary folder.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
        InvalidInputError: It is something else, or of a newer format.
    """

    def __init__(
        self,
        storage: ReadableStorage,
        *,
        where: str,
        memory: int = DEFAULT_MEMORY,
        remedy: str | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        self._where = where
        self._memory = memory
        self._scratch = scratch
        self.remedy = remedy or (
            f"run `kdrec verify --bytes {where}` for the extent, then `kdrec repair` on that folder"
        )
        self._ledger = LedgerReader(storage, where=where, remedy=self.remedy)
        self._arrays = ArrayReader(storage, self._ledger)
        self._numbers_S: npt.NDArray[np.int64] | None = None
        self._reset()

    def _reset(self) -> None:
        self._groups = DecodedGroups(self._memory, self._scratch)
        self._lock = ProcessLock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_groups", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def where(self) -> str:
        """Its name or address."""
        return self._where

    @property
    def manifest(self) -> Manifest:
        """Everything that is known about how it was made."""
        return self._ledger.manifest

    @property
    def header(self) -> LedgerEntry:
        """The ledger's first entry."""
        return self._ledger.header

    @property
    def grid(self) -> BlockGrid:
        """Its blocks."""
        return self._ledger.grid

    @property
    def seal(self) -> Seal | None:
        """The seal, None while the recording goes on."""
        return self._ledger.seal

    @property
    def identity(self) -> str | None:
        """Digest of the seal, None while the recording goes on."""
        return self._ledger.identity

    def refresh(self) -> None:
        """Look whether a recording that was going on has been sealed since."""
        self._ledger.refresh()

    def committed(self) -> list[Block]:
        """The blocks that are here, in order."""
        return self._ledger.committed()

    def correct(self) -> Correct:
        """The teacher's score over the blocks that are here; no records without labels."""
        return self._ledger.correct()

    def entry(self, block: Block) -> LedgerEntry:
        """The ledger entry of a block, kept once it was read; see `LedgerReader.entry`."""
        return self._ledger.entry(block)

    def read_entry(self, block: Block) -> LedgerEntry:
        """The ledger entry of a block as it is now; see `LedgerReader.entry`."""
        return self._ledger.read_entry(block)

    def shard_sizes(self) -> dict[str, int]:
        """Bytes of the shards that are here, by array.

        Raises:
            IntegrityError: The ledger does not list one, or is damaged.
        """
        blocks = self.committed()
        return {
            name: sum(self._ledger.shard_size(block, name) for block in blocks)
            for name in self._names
        }

    def read(
        self, view: int | npt.ArrayLike, indices: npt.ArrayLike | slice | None = None
    ) -> tuple[ViewParameters, npt.NDArray[np.float32]]:
        """Augmentation parameters and teacher logits of some records.

        Args:
            view: One view for all, or one for each index.
            indices: Sample numbers in any order, a slice, or None for all samples.

        Returns:
            Parameters of B records, and logits of shape (B, C), float32, all teacher columns;
            where only the largest were kept, the others by the rule of `SparseLogits`.

        Raises:
            InvalidInputError: A view or sample is out of range.
            IncompleteError: A record is not (yet) here.
            IntegrityError: A file is damaged.
        """
        parameters, stored = self._read(view, indices)
        num_classes = self.manifest.classes.num_teacher
        return parameters, self._encoding.to_logits(stored, num_classes)

    def read_sparse(
        self, view: int | npt.ArrayLike, indices: npt.ArrayLike | slice | None = None
    ) -> tuple[ViewParameters, SparseLogits]:
        """The same, but only of the classes that were kept.

        Raises:
            InvalidInputError: Besides, the recording keeps all classes.
        """
        if not isinstance(self._encoding, TopK):
            raise InvalidInputError(
                f"{self._where} keeps the logits of all classes ({self._encoding.name}); "
                "use read for them"
            )
        parameters, stored = self._read(view, indices)
        num_classes = self.manifest.classes.num_teacher
        return parameters, self._encoding.to_sparse(stored, num_classes)

    def beyond_bound(
        self,
        views_M: npt.NDArray[np.int64],
        samples_M: npt.NDArray[np.int64],
        logits_MC: npt.NDArray[np.float32],
        bounds: Sequence[Bound],
        *,
        slack: float = 0.0,
    ) -> npt.NDArray[np.bool_]:
        """Which records, (M,), are stored further off these logits than the bounds allow.

        Args:
            views_M: View of each.
            samples_M: Sample of each.
            logits_MC: What they should be.
            bounds: Of the encodings on the way, see `kdrec.store.beyond_bound`.
            slack: By how much the logits themselves vary, relative to the largest.
        """
        _, stored = self._read(views_M, samples_M)
        return self._encoding.beyond(logits_MC, stored, bounds, slack=slack)

    def _read(
        self, view: int | npt.ArrayLike, indices: npt.ArrayLike | slice | None
    ) -> tuple[ViewParameters, dict[str, AnyArray]]:
        samples_B = self._sample_numbers(indices)
        views_B = _whole_numbers("view", view, self.grid.views)
        one_view = np.ndim(view) == 0
        if one_view:
            views_B = np.full(len(samples_B), views_B[0])
        if views_B.shape != samples_B.shape:
            raise InvalidInputError(
                f"{len(views_B)} views do not go with {len(samples_B)} samples; "
                "give one view, or one for each sample"
            )
        if one_view and len(views_B):
            stored = self._take(int(views_B[0]), samples_B)
        else:
            stored = self._gather(views_B, samples_B)
        drawn_views_B, drawn_samples_B = self.drawn_as(views_B, samples_B)
        parameters = ViewParameters(
            names=tuple(column.name for column in self.manifest.parameters),
            values_BP=stored.pop("params", np.empty((len(samples_B), 0), dtype=np.float32)),
            seed=self.manifest.plan.seed,
            views_B=drawn_views_B,
            samples_B=drawn_samples_B,
        )
        return parameters, stored

    def _take(self, view: int, samples_B: npt.NDArray[np.int64]) -> dict[str, AnyArray]:
        group, place = divmod(view, self.grid.group)
        return self._decoded(group, samples_B).take(place, samples_B)

    def _gather(
        self, views_B: npt.NDArray[np.int64], samples_B: npt.NDArray[np.int64]
    ) -> dict[str, AnyArray]:
        stored = {
            name: in_memory((len(samples_B), width), dtype)
            for name, (dtype, width) in self._widths.items()
        }
        groups_B = views_B // self.grid.group
        for group in np.unique(groups_B).tolist():
            rows = np.flatnonzero(groups_B == group)
            decoded = self._decoded(group, samples_B[rows])
            taken = decoded.take(views_B[rows] % self.grid.group, samples_B[rows])
            for name, values in taken.items():
                stored[name][rows] = values
        return stored

    def drawn_as(
        self, views_B: npt.NDArray[np.int64], samples_B: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """View and sample by which records were drawn: others only in a converted recording."""
        if self.manifest.origin is None:
            return views_B, samples_B
        numbers_S = self.sample_numbers()
        samples_B = samples_B if numbers_S is None else numbers_S[samples_B]
        return views_B + self.manifest.origin.first_view, samples_B

    def sample_numbers(self) -> npt.NDArray[np.int64] | None:
        """Number by which each sample was drawn, ascending; None where that is its place."""
        if self._numbers_S is None and self.has_array("samples/number"):
            self._numbers_S = self.array("samples/number")
        return self._numbers_S

    def draw(
        self, views_B: npt.NDArray[np.int64], samples_B: npt.NDArray[np.int64]
    ) -> ViewParameters:
        """The parameters of records as the seed gives them, without reading any."""
        views, samples = self.drawn_as(views_B, samples_B)
        plan = self.manifest.plan
        return plan.augmentation.draw(plan.seed, views=views, samples_B=samples)

    def _sample_numbers(self, indices: npt.ArrayLike | slice | None) -> npt.NDArray[np.int64]:
        if indices is None or isinstance(indices, slice):
            everything = np.arange(self.grid.samples, dtype=np.int64)
            return everything if indices is None else everything[indices]
        return _whole_numbers("sample", indices, self.grid.samples)

    def _decoded(self, group: int, samples_B: npt.NDArray[np.int64]) -> DecodedGroup:
        with self._lock:
            decoded = self._groups.find(group) or self._groups.add(
                group, (len(self.grid.block(group, 0).views), self.grid.samples), self._widths
            )
            if len(decoded.parts) < self.grid.num_parts:
                self._decode_parts(group, np.unique(samples_B // self.grid.block_samples), decoded)
            return decoded

    def _decode_parts(
        self, group: int, parts: npt.NDArray[np.int64], decoded: DecodedGroup
    ) -> None:
        for part in parts.tolist():
            if part not in decoded.parts:
                self._decode_block(self.grid.block(group, part), decoded)
                decoded.parts.add(part)

    def _decode_block(self, block: Block, decoded: DecodedGroup) -> None:
        rows = slice(block.samples.start, block.samples.stop)
        for name, array_GSW in decoded.arrays.items():
            array_GSW[:, rows] = self._arrays.read_shard(name, block)

    @cached_property
    def _encoding(self) -> Encoding:
        return find_encoding(self.manifest.plan.encoding.name)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The arrays that hold records."""
        names = self._encoding.arrays
        return ("params", *names) if self.manifest.parameters else names

    @cached_property
    def _widths(self) -> dict[str, tuple[str, int]]:
        """Type and width of the arrays that hold records, decoded."""
        found = {name: self._arrays.width(name) for name in self._names}
        # Half precision is kept as it is decoded for use.
        return {n: ("float32" if d == "float16" else d, w) for n, (d, w) in found.items()}

    def has_array(self, name: str) -> bool:
        """Whether the recording keeps this static array, such as `samples/points`."""
        return self._arrays.has(name)

    def array(self, name: str) -> AnyArray:
        """A static array, whole; see `ArrayReader.read`."""
        return self._arrays.read(name)

    def sample_names(self) -> tuple[str, ...] | None:
        """Names of the samples, None where the data had none."""
        return self._arrays.sample_names()

    def proof(self) -> ProofRecords:
        """The proof records; see `ArrayReader.proof`."""
        return self._arrays.proof()


def _whole_numbers(noun: str, values: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """One axis of numbers from 0 to count - 1; nothing is rounded or wrapped."""
    numbers = np.atleast_1d(np.asarray(values))
    if numbers.ndim != 1:
        raise InvalidInputError(f"{noun}s must be one number or a list, got {numbers.ndim} axes")
    if numbers.size and numbers.dtype.kind not in "iu":
        raise InvalidInputError(f"{noun}s must be integers, got {numbers.dtype}")
    whole = numbers.astype(np.int64)
    # Without its sign a negative number is larger than any count: one pass finds both ends.
    if whole.size and whole.view(np.uint64).max() >= count:
        wrong = numbers[(numbers < 0) | (numbers >= count)]
        raise InvalidInputError(f"{noun} must be from 0 to {count - 1}, got {wrong[0]}")
    return whole
