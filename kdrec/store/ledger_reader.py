"""Reading what a recording says of itself: manifest, header, seal, and what is committed.

Every document is checked before it is believed: against its own digest, the header it names, and
the seal where there is one.
"""

from typing import Any

from kdrec.errors import IncompleteError, IntegrityError, NotFoundError
from kdrec.store.keys import block_of_entry
from kdrec.store.ledger import HEADER_KEY, SEAL_KEY, Correct, FileDigest, LedgerEntry, Seal
from kdrec.store.manifest import Manifest, parse_group
from kdrec.store.plan import Block, BlockGrid
from kdrec.store.storage import ReadableStorage
from kdrec.store.writer import ROOT_KEY

MOST_BLOCKS = 2**24
"""More than a hundred terabytes in blocks of the size that kdrec derives."""
MOST_CLASSES = 2**31


class LedgerReader:
    """The documents of one recording.

    Args:
        storage: Where its files come from.
        where: Its name or address, for errors.
        remedy: What to do about damage, for errors.

    Attributes:
        manifest: Of the recording.
        header: The ledger's first entry.
        grid: Its blocks.
        seal: None while the recording goes on.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
        InvalidInputError: It is something else, or of a newer format.
    """

    def __init__(self, storage: ReadableStorage, *, where: str, remedy: str) -> None:
        self._storage = storage
        self.where = where
        self.remedy = remedy
        self.header, self.manifest = self._open_header()
        self.grid = BlockGrid.of(self.manifest.plan)
        self._check_plan()
        self.seal = self._find_seal()
        self._header_digest = self.header.digest
        self._identity: str | None = None
        self._entries: dict[str, LedgerEntry] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_entries": {}}  # a process that was sent it reads what it needs

    def _open_header(self) -> tuple[LedgerEntry, Manifest]:
        try:
            root = self._storage.read(ROOT_KEY)
        except NotFoundError as error:
            raise self._no_root() from error
        where = f"{self.where}/{HEADER_KEY}"
        try:
            data = self._storage.read(HEADER_KEY)
        except NotFoundError as error:
            raise IntegrityError(f"{where} is missing; {self.remedy}") from error
        try:
            header = LedgerEntry.from_bytes(data, where=where, remedy=self.remedy)
        except IntegrityError:
            parse_group(root, where=self.where)  # a newer format may have other ledgers
            raise
        # The digest before the contents: a flipped bit must not pass for another format version.
        return header, self._parse_root(root, header)

    def _no_root(self) -> NotFoundError:
        """Why there is no root: never begun, not yet fetched so far, or lost."""
        if self._has(SEAL_KEY) or self._has(HEADER_KEY):
            return NotFoundError(
                f"no recording at {self.where}, only a part of one: without its {ROOT_KEY} it is "
                "begun or fetched no further, or damaged; finish that, or put the file back with "
                f"`kdrec repair {self.where} --from COPY`"
            )
        return NotFoundError(f"no recording at {self.where}; give the folder or the address of one")

    def _has(self, key: str) -> bool:
        try:
            self._storage.read(key)
        except NotFoundError:
            return False
        return True

    def _parse_root(self, root: bytes, header: LedgerEntry) -> Manifest:
        if ROOT_KEY not in header.files:
            raise IntegrityError(f"{self.where}/{HEADER_KEY} lists no {ROOT_KEY}; {self.remedy}")
        where = f"{self.where}/{ROOT_KEY}"
        header.files[ROOT_KEY].check(root, where=where, remedy=self.remedy)
        return parse_group(root, where=self.where)

    def _check_plan(self) -> None:
        """A plan from anywhere may have more of something than anyone can go through."""
        blocks = self.grid.num_groups * self.grid.num_parts  # len() cannot say every number
        if blocks > MOST_BLOCKS:
            raise IntegrityError(
                f"{self.where} would have {blocks} blocks, allowed are {MOST_BLOCKS}; do not "
                "trust where it is from"
            )
        columns = self.manifest.classes.num_teacher
        if columns > MOST_CLASSES:
            raise IntegrityError(
                f"{self.where} would have {columns} classes, allowed are {MOST_CLASSES}; do not "
                "trust where it is from"
            )
        wrong = [c for c in self.manifest.plan.class_map or () if not 0 <= c < columns]
        if wrong:
            raise IntegrityError(
                f"{self.where} maps a class to column {wrong[0]} of {columns}; do not trust where "
                "it is from"
            )

    def _find_seal(self) -> Seal | None:
        try:
            data = self._storage.read(SEAL_KEY)
        except NotFoundError:
            return None
        where = f"{self.where}/{SEAL_KEY}"
        seal = Seal.from_bytes(data, where=where, remedy=self.remedy)
        seal.check_header(self.header, where=where, remedy=self.remedy)
        return seal

    @property
    def identity(self) -> str | None:
        """Digest of the seal, None while the recording goes on."""
        if self._identity is None and self.seal is not None:
            self._identity = self.seal.digest  # kept: it goes over every file
        return self._identity

    def refresh(self) -> None:
        """Look whether a recording that was going on has been sealed since."""
        if self.seal is None:
            self.seal = self._find_seal()

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
        where = f"{block} of {self.where}: {block.ledger_key}"
        if self.seal is not None:
            sealed = self._sealed(block.ledger_key, where)
            sealed.check(data, where=where, remedy=self.remedy)
        entry = LedgerEntry.from_bytes(data, where=where, remedy=self.remedy)
        if entry.recording != self._header_digest or entry.block != block.name:
            raise IntegrityError(f"{where} belongs to another recording or block; {self.remedy}")
        return entry

    def shard_size(self, block: Block, array: str) -> int:
        """Bytes of a shard that is committed: by the seal, without reading the block's entry.

        Raises:
            IntegrityError: The ledger does not list it, or is damaged.
        """
        key = block.shard_key(array)
        where = f"{block} of {self.where}: {key}"
        if self.seal is not None:
            return self._sealed(key, where).size
        files = self.entry(block).files
        if key not in files:
            raise IntegrityError(f"{where} is not listed in its ledger entry; {self.remedy}")
        return files[key].size

    def _sealed(self, key: str, where: str) -> FileDigest:
        assert self.seal is not None
        if key not in self.seal.files:
            raise IntegrityError(f"{where} is not listed in the seal; {self.remedy}")
        return self.seal.files[key]

    def _why_absent(self, block: Block) -> str:
        if self.seal is not None:
            return f"{block} is not in this copy, {self.where}; run `kdrec fetch` for its views"
        return (
            f"{block} of {self.where} is not recorded yet ({len(self.committed())} of "
            f"{len(self.grid)} blocks are); wait, or run the same kdrec record again"
        )
