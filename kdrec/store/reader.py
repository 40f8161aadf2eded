"""Reading a recording, wherever its files come from.

Files are read whole, checked against the ledger, decoded chunk by chunk with their checksums, and
kept decoded by view group; records are then gathered in memory. What is not committed, not here or
damaged raises: no path returns a fill value.

Shape letters: B batch, G views of a group, S samples, P parameters, C classes.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.augment import ViewParameters
from kdrec.errors import IncompleteError, IntegrityError, InvalidInputError, NotFoundError
from kdrec.store.array_layout import (
    ArrayLayout,
    check_dimensions,
    expected_dimensions,
    read_layout,
)
from kdrec.store.arrays import AnyArray, decode_files, text_of_fixed_width
from kdrec.store.contents import ProofRecords
from kdrec.store.decoded_groups import DecodedGroup, DecodedGroups, in_memory
from kdrec.store.encodings import Encoding, TopK, find_encoding
from kdrec.store.keys import block_of_entry
from kdrec.store.ledger import HEADER_KEY, SEAL_KEY, Correct, FileDigest, LedgerEntry, Seal
from kdrec.store.manifest import Bound, Manifest, parse_group
from kdrec.store.plan import Block, BlockGrid
from kdrec.store.sparse import SparseLogits
from kdrec.store.storage import ReadableStorage
from kdrec.store.stored_chunks import check_file
from kdrec.store.writer import ROOT_KEY

DEFAULT_MEMORY = 2 * 2**30
MOST_BLOCKS = 2**24
"""More than a hundred terabytes in blocks of the size that kdrec derives."""
MOST_CLASSES = 2**31


class RecordingReader:
    """Reads one recording.

    Args:
        storage: Where its files come from.
        where: Its name or address, for errors.
        memory: Bytes of decoded records kept; a view group that is larger goes to a temporary
            memory-mapped file.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
        InvalidInputError: It is something else, or of a newer format.
    """

    def __init__(
        self, storage: ReadableStorage, *, where: str, memory: int = DEFAULT_MEMORY
    ) -> None:
        self._storage = storage
        self._where = where
        self._memory = memory
        self.remedy = (
            f"run `kdrec verify --bytes {where}` for the extent, then `kdrec repair` on that folder"
        )
        self.manifest, self.header = self._open_header()
        self.grid = BlockGrid.of(self.manifest.plan)
        self._check_plan()
        self._seal = self._find_seal()
        self._numbers_S: npt.NDArray[np.int64] | None = None
        self._reset()

    def _reset(self) -> None:
        self._groups = DecodedGroups(self._memory)
        self._entries: dict[str, LedgerEntry] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        kept = {"_groups", "_entries", "_lock"}
        return {key: value for key, value in self.__dict__.items() if key not in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _open_header(self) -> tuple[Manifest, LedgerEntry]:
        try:
            root = self._storage.read(ROOT_KEY)
        except NotFoundError as error:
            raise NotFoundError(f"no recording at {self._where}") from error
        try:
            data = self._storage.read(HEADER_KEY)
        except NotFoundError as error:
            raise IntegrityError(f"{self._where}/{HEADER_KEY} is missing; {self.remedy}") from error
        where = f"{self._where}/{HEADER_KEY}"
        header = LedgerEntry.from_bytes(data, where=where, remedy=self.remedy)
        # The digest before the contents: a flipped bit must not pass for another format version.
        manifest = self._parse_root(root, header)
        return manifest, header

    def _parse_root(self, root: bytes, header: LedgerEntry) -> Manifest:
        if ROOT_KEY not in header.files:
            raise IntegrityError(f"{self._where}/{HEADER_KEY} lists no {ROOT_KEY}; {self.remedy}")
        where = f"{self._where}/{ROOT_KEY}"
        header.files[ROOT_KEY].check(root, where=where, remedy=self.remedy)
        return parse_group(root, where=self._where)

    def _check_plan(self) -> None:
        """A plan from anywhere may have more of something than anyone can go through."""
        blocks = self.grid.num_groups * self.grid.num_parts  # len() cannot say every number
        if blocks > MOST_BLOCKS:
            raise IntegrityError(
                f"{self._where} would have {blocks} blocks, allowed are {MOST_BLOCKS}; do not "
                "trust where it is from"
            )
        columns = self.manifest.classes.num_teacher
        if columns > MOST_CLASSES:
            raise IntegrityError(
                f"{self._where} would have {columns} classes, allowed are {MOST_CLASSES}; do not "
                "trust where it is from"
            )
        wrong = [c for c in self.manifest.plan.class_map or () if not 0 <= c < columns]
        if wrong:
            raise IntegrityError(
                f"{self._where} maps a class to column {wrong[0]} of {columns}; do not trust where "
                "it is from"
            )

    def _find_seal(self) -> Seal | None:
        try:
            data = self._storage.read(SEAL_KEY)
        except NotFoundError:
            return None
        where = f"{self._where}/{SEAL_KEY}"
        seal = Seal.from_bytes(data, where=where, remedy=self.remedy)
        seal.check_header(self.header, where=where, remedy=self.remedy)
        return seal

    @property
    def where(self) -> str:
        """Its name or address."""
        return self._where

    @property
    def seal(self) -> Seal | None:
        """The seal, None while the recording goes on."""
        return self._seal

    @property
    def identity(self) -> str | None:
        """Digest of the seal, None while the recording goes on."""
        return None if self._seal is None else self._seal.digest

    def refresh(self) -> None:
        """Look whether a recording that was going on has been sealed since."""
        if self._seal is None:
            self._seal = self._find_seal()

    def committed(self) -> list[Block]:
        """The blocks that are here, in order."""
        found = (block_of_entry(self.grid, key) for key in self._storage.keys("ledger/"))
        blocks = (block for block in found if block is not None)
        return sorted(blocks, key=lambda block: (block.group, block.part))

    def correct(self) -> Correct:
        """The teacher's score over the blocks that are here; no records without labels."""
        scores = (self.entry(block).correct for block in self.committed())
        return sum((score for score in scores if score is not None), Correct())

    def entry(self, block: Block) -> LedgerEntry:
        """The ledger entry of a block, kept once it was read.

        Raises:
            IncompleteError: The block is not recorded yet, or not in this copy.
            IntegrityError: The entry is damaged.
        """
        if block.name not in self._entries:
            self._entries[block.name] = self.read_entry(block)
        return self._entries[block.name]

    def read_entry(self, block: Block) -> LedgerEntry:
        """The ledger entry of a block as it is now; raises as `entry` does."""
        try:
            data = self._storage.read(block.ledger_key)
        except NotFoundError as error:
            raise IncompleteError(self._why_absent(block)) from error
        where = f"{block} of {self._where}: {block.ledger_key}"
        self._check_sealed(block.ledger_key, data, where)
        entry = LedgerEntry.from_bytes(data, where=where, remedy=self.remedy)
        if entry.recording != self.header.digest or entry.block != block.name:
            raise IntegrityError(f"{where} belongs to another recording or block; {self.remedy}")
        return entry

    def _why_absent(self, block: Block) -> str:
        if self._seal is not None:
            return f"{block} is not in this copy, {self._where}; run `kdrec fetch` for its views"
        return (
            f"{block} of {self._where} is not recorded yet ({len(self.committed())} of "
            f"{len(self.grid)} blocks are); wait, or run the same kdrec record again"
        )

    def _check_sealed(self, key: str, data: bytes, where: str) -> None:
        if self._seal is not None:
            if key not in self._seal.files:
                raise IntegrityError(f"{where} is not listed in the seal; {self.remedy}")
            self._seal.files[key].check(data, where=where, remedy=self.remedy)

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
            array_GSW[:, rows] = self._decode_shard(name, block)

    @cached_property
    def _encoding(self) -> Encoding:
        return find_encoding(self.manifest.plan.encoding.name)

    @cached_property
    def _widths(self) -> dict[str, tuple[str, int]]:
        """Type and width of the arrays that hold records, decoded."""
        names = self._encoding.arrays
        if self.manifest.parameters:
            names = ("params", *names)
        found = {name: self._width(name) for name in names}
        # Half precision is kept as it is decoded for use.
        return {n: ("float32" if d == "float16" else d, w) for n, (d, w) in found.items()}

    def _width(self, name: str) -> tuple[str, int]:
        key = f"{name}/{ROOT_KEY}"
        if key not in self.header.files:
            raise IntegrityError(f"{self._where}/{HEADER_KEY} lists no {key}; {self.remedy}")
        layout = self._layout(name, self._checked(key, self.header.files))
        return layout.dtype, layout.shape[-1]

    def _decode_shard(self, array: str, block: Block) -> AnyArray:
        key = block.shard_key(array)
        digests = self.entry(block).files
        where = f"{block} of {self._where}: {key}"
        if key not in digests:
            raise IntegrityError(f"{where} is not listed in its ledger entry; {self.remedy}")
        metadata = self._checked(f"{array}/{ROOT_KEY}", self.header.files)
        files = {key.removeprefix(f"{array}/"): self._checked(key, digests, where=where)}
        self._check_decodable(array, metadata, files, where=where)
        values = decode_files(
            metadata, files, (block.views, block.samples), where=where, remedy=self.remedy
        )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise IntegrityError(f"{where} lacks a chunk or holds NaN; {self.remedy}")
        return values

    def _checked(self, key: str, digests: dict[str, FileDigest], *, where: str = "") -> bytes:
        where = where or f"{self._where}/{key}"
        try:
            data = self._storage.read(key)
        except NotFoundError as error:
            raise IntegrityError(f"{where} is missing; {self.remedy}") from error
        except IntegrityError as error:  # a server's answer: only here is known what it was for
            raise IntegrityError(f"{where}: {error}") from error
        digests[key].check(data, where=where, remedy=self.remedy)
        return data

    def has_array(self, name: str) -> bool:
        """Whether the recording keeps this static array, such as `samples/points`."""
        return f"{name}/{ROOT_KEY}" in self.header.files

    def array(self, name: str) -> AnyArray:
        """A static array, whole.

        Raises:
            NotFoundError: The recording does not keep it.
            IntegrityError: A file is missing or damaged.
        """
        if not self.has_array(name):
            raise NotFoundError(f"{self._where} keeps no {name}")
        keys = [key for key in self.header.files if key.startswith(f"{name}/")]
        files = {k.removeprefix(f"{name}/"): self._checked(k, self.header.files) for k in keys}
        metadata, where = files.pop(ROOT_KEY), f"{self._where}/{name}"
        self._check_decodable(name, metadata, files, where=where)
        return decode_files(metadata, files, where=where, remedy=self.remedy)

    def _check_decodable(
        self, array: str, metadata: bytes, files: Mapping[str, bytes], *, where: str
    ) -> None:
        """Before Zarr sees them: what is decoded has the manifest's shape and no more bytes."""
        layout = self._layout(array, metadata)
        for key, data in files.items():
            file = where if where.endswith(key) else f"{where}/{key}"
            check_file(data, layout, where=file, remedy=self.remedy)

    def _layout(self, array: str, metadata: bytes) -> ArrayLayout:
        where = f"{self._where}/{array}"
        layout = read_layout(metadata, where=where, remedy=self.remedy)
        wanted = expected_dimensions(array, self.manifest)
        if wanted is not None:
            check_dimensions(layout, wanted, where=where, remedy=self.remedy)
        return layout

    def sample_names(self) -> tuple[str, ...] | None:
        """Names of the samples, None where the data had none."""
        name = "samples/name"
        if not self.has_array(name):
            return None
        try:
            return text_of_fixed_width(self.array(name))
        except UnicodeDecodeError as error:
            raise IntegrityError(f"{self._where}/{name} is no text; {self.remedy}") from error

    def proof(self) -> ProofRecords:
        """The proof records.

        Raises:
            IntegrityError: They are damaged, or of records that the plan does not have.
        """
        proof = ProofRecords(
            views_M=self.array("proof/view"),
            samples_M=self.array("proof/sample"),
            logits_MC=self.array("proof/logits"),
            fingerprints_MF=self.array("proof/fingerprint"),
        )
        numbers = (proof.views_M, self.grid.views), (proof.samples_M, self.grid.samples)
        if any(((values < 0) | (values >= count)).any() for values, count in numbers):
            raise IntegrityError(
                f"{self._where}/proof is of records that the plan does not have; {self.remedy}"
            )
        return proof


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
