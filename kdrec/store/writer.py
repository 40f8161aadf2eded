"""Writing a recording: begin it, commit block after block, seal it.

Order is everything: the header files, then `ledger/header.json`, then `zarr.json` (from then on the
recording exists); the shards of a block, then its ledger entry (from then on the block exists).
Killed anywhere, the next process finds a prefix of that order and goes on.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from kdrec.augment import Array, namespace
from kdrec.errors import (
    AlreadyExistsError,
    ConflictError,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from kdrec.store.arrays import (
    AnyArray,
    create_hierarchy,
    decode_files,
    encode_chunks,
    encode_shard,
    record_arrays,
)
from kdrec.store.contents import ProofRecords, SampleContents, static_contents
from kdrec.store.documents import canonical
from kdrec.store.encodings import RECORD_ARRAYS, find_encoding
from kdrec.store.ledger import (
    HEADER_KEY,
    SEAL_KEY,
    Correct,
    FileDigest,
    LedgerEntry,
    Seal,
    digest_files,
)
from kdrec.store.manifest import Classes, Manifest, Origin, parameter_columns, parse_group
from kdrec.store.plan import Block, BlockGrid, Plan
from kdrec.store.storage import ReadableStorage, Storage

ROOT_KEY = "zarr.json"
BEGINNING_KEY = "ledger/beginning.json"
BLOCK_ARRAYS = ("params", *sorted(RECORD_ARRAYS))
"""All arrays of which a block may have a shard."""
OWN_NAMES = frozenset({*BLOCK_ARRAYS, "samples", "proof", "ledger", ROOT_KEY, SEAL_KEY})
"""All that lies directly in a recording's folder."""
_ENTRIES_AT_ONCE = 16  # an object store takes as long for all of these as for one
_REMEDY = "put it back with `kdrec repair`, or delete the recording and record it again"


def find_manifest(storage: ReadableStorage, *, where: str) -> Manifest | None:
    """The manifest of the recording that lies there, None if there is none yet."""
    try:
        return parse_group(storage.read(ROOT_KEY), where=where)
    except NotFoundError:
        return None


class RecordingWriter:
    """The one who writes a recording: hold its lock, and claim a block before it is committed.

    Args:
        storage: Where it lies, or shall.
        where: Its name, for errors.
    """

    def __init__(self, storage: Storage, *, where: str) -> None:
        self._storage = storage
        self._where = where
        self._metadata: dict[str, bytes] = {}
        self._header = ""
        self._seal: Seal | None = None
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of what is written."""
        assert self._manifest is not None, "begin or resume first"
        return self._manifest

    def prepare(self) -> Manifest | None:
        """Look what lies there: the manifest of a recording to resume, None to begin one.

        Raises:
            AlreadyExistsError: Something else lies there.
            IntegrityError: A recording lies there that has lost its `zarr.json`.
        """
        found = find_manifest(self._storage, where=self._where)
        if found is None:
            self._clear_unfinished_beginning()
        return found

    def begin(
        self,
        plan: Plan,
        classes: Classes,
        samples: SampleContents,
        proof: ProofRecords,
        *,
        origin: Origin | None = None,
    ) -> Manifest:
        """Write everything that comes before the first block; call `prepare` before.

        Args:
            plan: Of the recording.
            classes: What the columns of the logits mean.
            samples: What is kept of every sample.
            proof: The proof records; the encoding is fitted to their logits.
            origin: Of a converted recording.

        Raises:
            InvalidInputError: The encoding cannot keep what is asked of it.
        """
        encoding = find_encoding(plan.encoding.name)
        fitted = encoding.fit(plan.encoding, proof.logits_MC)
        # Refused now rather than with the first block, when the recording is there.
        encoding.to_stored(proof.logits_MC[None], plan.encoding, fitted.bound)
        manifest = Manifest(
            plan=plan,
            classes=classes,
            parameters=parameter_columns(plan.augmentation),
            bound=fitted.bound,
            num_proof=len(proof),
            origin=origin,
        )
        self._storage.write(BEGINNING_KEY, canonical({}))
        specs, values = static_contents(samples, proof)
        records = record_arrays(plan, fitted, columns=manifest.parameters)
        attributes = {"kdrec": manifest.model_dump(mode="json")}
        files = create_hierarchy(attributes, [*records, *specs])
        digests = digest_files(files)
        for key in sorted(files.keys() - {ROOT_KEY}):
            self._storage.write(key, files[key])
        for spec in specs:
            metadata = files[f"{spec.name}/{ROOT_KEY}"]
            for key, data in encode_chunks(spec, metadata, values[spec.name]):
                self._storage.write(key, data)
                digests[key] = FileDigest.of(data)
        header = LedgerEntry(block="header", files=dict(sorted(digests.items())))
        self._storage.write(HEADER_KEY, header.to_bytes())
        self._storage.write(ROOT_KEY, files[ROOT_KEY])
        self.resume(manifest)
        return manifest

    def resume(self, manifest: Manifest) -> None:
        """Continue a recording that was begun.

        Raises:
            IntegrityError: What blocks are encoded by is damaged or missing: the header's entry,
                the manifest, the metadata of an array.
        """
        self._storage.delete(BEGINNING_KEY)
        self._seal = self._find_seal()
        self._manifest = manifest
        header = self._header_entry()
        self._header = header.digest
        self._read_header_file(header, ROOT_KEY)
        names = find_encoding(manifest.plan.encoding.name).arrays
        if manifest.parameters:
            names = ("params", *names)
        self._metadata = {
            name: self._read_header_file(header, f"{name}/{ROOT_KEY}") for name in names
        }

    def committed_names(self) -> frozenset[str]:
        """Names of the blocks that are there by now, whoever committed them; nothing is checked.

        By listing, which also on NFS shows what other machines wrote: a file that was looked for
        and absent may be remembered as absent for a minute.
        """
        keys = (key.removeprefix("ledger/") for key in self._storage.keys("ledger/"))
        return frozenset(key.removesuffix(".json") for key in keys if key.startswith("g"))

    def is_committed(self, block: Block) -> bool:
        """Whether a block is there, as far as is known; see `committed_names`."""
        try:
            return self._storage.size(block.ledger_key) > 0
        except NotFoundError:
            return False

    def committed(self) -> dict[str, LedgerEntry]:
        """The ledger entries of the blocks that are there, by block name.

        Raises:
            IntegrityError: An entry is damaged, or a file it lists is missing or cut.
        """
        return {entry.block: entry for entry, _ in self._committed().values()}

    def _committed(self) -> dict[str, tuple[LedgerEntry, FileDigest]]:
        """Entries of blocks, checked, and the digests of their files, by key."""
        keys = [k for k in self._storage.keys("ledger/") if k not in (HEADER_KEY, BEGINNING_KEY)]
        with ThreadPoolExecutor(_ENTRIES_AT_ONCE) as pool:
            return dict(zip(keys, pool.map(self._checked_entry, keys), strict=True))

    def _checked_entry(self, key: str) -> tuple[LedgerEntry, FileDigest]:
        data = self._storage.read(key)
        entry = LedgerEntry.from_bytes(data, where=f"{self._where}/{key}", remedy=_REMEDY)
        self._check_sizes(entry, key)
        return entry, FileDigest.of(data)

    def _check_sizes(self, entry: LedgerEntry, ledger_key: str) -> None:
        for key, digest in entry.files.items():
            remedy = f"delete {ledger_key} and run the same kdrec record again to record it anew"
            where = f"block {entry.block} of {self._where}: {key}"
            try:
                size = self._storage.size(key)
            except NotFoundError as error:
                raise IntegrityError(f"{where} is missing; {remedy}") from error
            if size != digest.size:
                raise IntegrityError(
                    f"{where} has {size} bytes, the ledger says {digest.size}; {remedy}"
                )

    def commit(
        self,
        block: Block,
        parameters_GSP: npt.NDArray[np.float32],
        logits_GSC: Array,
        *,
        correct: Correct | None,
        batch_size: int | None = None,
    ) -> LedgerEntry:
        """Write the shards of a block, then its ledger entry.

        Args:
            block: Of the plan.
            parameters_GSP: Of its views and samples, on their grid.
            logits_GSC: As the teacher gave them: of numpy, or of torch on any device if the
                encoding `reduces`.
            correct: The teacher's score on this block.
            batch_size: That the teacher was asked with, None for the plan's.

        Raises:
            InvalidInputError: The encoding cannot keep a logit within its bound.
            StorageError: The disk refuses, or the recording is not there any more; nothing of the
                block is committed.
            ConflictError: The recording is sealed, and these are other bytes than it had.
        """
        self._check_still_there()
        xp = namespace(logits_GSC)
        if not xp.all(xp.isfinite(logits_GSC)):
            raise InvalidInputError(f"{block}: its logits must be finite, got NaN or infinity")
        files = self._encode_logits(block, logits_GSC)
        if self.manifest.parameters:
            files[block.shard_key("params")] = self._encode("params", block, parameters_GSP)
        entry = LedgerEntry(
            block=block.name,
            recording=self._header,
            files=digest_files(files),
            correct=correct,
            batch_size=batch_size,
        )
        self._check_sealed(block, files | {block.ledger_key: entry.to_bytes()})
        for key, data in files.items():
            self._storage.write(key, data)
        self._storage.write(block.ledger_key, entry.to_bytes())
        return entry

    def _encode_logits(self, block: Block, logits_GSC: Array) -> dict[str, bytes]:
        """The shards of the logits, decoded once more to see that they keep the bound."""
        plan, bound = self.manifest.plan, self.manifest.bound
        encoding = find_encoding(plan.encoding.name)
        files: dict[str, bytes] = {}
        decoded: dict[str, AnyArray] = {}
        for name, values in encoding.to_stored(logits_GSC, plan.encoding, bound).items():
            files[block.shard_key(name)] = shard = self._encode(name, block, values)
            key = block.shard_key(name).removeprefix(f"{name}/")
            region = block.views, block.samples
            found = decode_files(
                self._metadata[name], {key: shard}, region, where=str(block), remedy="report this"
            )
            decoded[name] = found.reshape(-1, found.shape[-1])
        teacher_KC = logits_GSC.reshape(-1, logits_GSC.shape[-1])
        if encoding.beyond(teacher_KC, decoded, (bound,), slack=0.0).any():
            raise InvalidInputError(
                f"{block}: encoding {encoding.name} cannot keep its logits within its bound "
                f"({bound}); use --encoding exact"
            )
        return files

    def _encode(self, name: str, block: Block, values: AnyArray) -> bytes:
        return encode_shard(self._metadata[name], (block.views, block.samples), values)

    def seal(self) -> Seal:
        """Write the seal over all files, if there is none; the recording is finished.

        Raises:
            IncompleteError: A block is missing.
            IntegrityError: There is a seal, over other files than these.
        """
        committed = self._committed()
        missing = [b for b in BlockGrid.of(self.manifest.plan) if b.ledger_key not in committed]
        if missing:
            raise IncompleteError(
                f"{self._where} lacks {len(missing)} blocks, the first is {missing[0]}; "
                "run the same kdrec record again"
            )
        header = self._header_entry()
        files = {HEADER_KEY: FileDigest.of(header.to_bytes())} | header.files
        for key, (entry, digest) in committed.items():
            files |= entry.files | {key: digest}
        seal = Seal(files=files)
        if self._seal is None:
            self._storage.write(SEAL_KEY, seal.to_bytes())
        else:
            self._check_same_seal(self._seal, seal)
        return seal

    def _check_same_seal(self, there: Seal, now: Seal) -> None:
        """A seal is never written over: the recording's identity would change without a word."""
        for key in sorted(there.files.keys() | now.files.keys()):
            if there.files.get(key) != now.files.get(key):
                raise IntegrityError(
                    f"{self._where}: the seal and the ledger disagree on {key}; {_REMEDY}"
                )

    def _check_still_there(self) -> None:
        """Blocks written where nothing is any more would be a recording of nothing."""
        try:
            self._storage.size(ROOT_KEY)
        except NotFoundError as error:
            raise StorageError(
                f"{self._where} is not there any more: its disk is not mounted, or it was removed "
                "while it was recorded; mount the disk, or run the same kdrec record again to "
                "begin anew"
            ) from error

    def _find_seal(self) -> Seal | None:
        try:
            data = self._storage.read(SEAL_KEY)
        except NotFoundError:
            return None
        return Seal.from_bytes(data, where=f"{self._where}/{SEAL_KEY}", remedy=_REMEDY)

    def _check_sealed(self, block: Block, files: Mapping[str, bytes]) -> None:
        """A sealed recording is completed with the bytes it had, or not at all."""
        if self._seal is None:
            return
        for key, data in files.items():
            if self._seal.files.get(key) != FileDigest.of(data):
                raise ConflictError(
                    f"{block} of {self._where} comes out otherwise than it was sealed ({key}); the "
                    "teacher, its device or a library is another: fetch the block instead"
                )

    def _entry(self, key: str) -> LedgerEntry:
        where = f"{self._where}/{key}"
        return LedgerEntry.from_bytes(self._storage.read(key), where=where, remedy=_REMEDY)

    def _header_entry(self) -> LedgerEntry:
        try:
            return self._entry(HEADER_KEY)
        except NotFoundError as error:
            raise IntegrityError(f"{self._where}/{HEADER_KEY} is missing; {_REMEDY}") from error

    def _read_header_file(self, header: LedgerEntry, key: str) -> bytes:
        """Checked: blocks encoded by a damaged codec would be committed with digests that agree."""
        where = f"{self._where}/{key}"
        try:
            data = self._storage.read(key)
        except NotFoundError as error:
            raise IntegrityError(f"{where} is missing; {_REMEDY}") from error
        header.files[key].check(data, where=where, remedy=_REMEDY)
        return data

    def _clear_unfinished_beginning(self) -> None:
        """Remove what a process killed while beginning left; anything else is not ours to touch."""
        keys = list(self._storage.keys())
        begun = [key for key in keys if key == SEAL_KEY or key.startswith("ledger/g")]
        if begun:
            raise IntegrityError(
                f"{self._where} holds {begun[0]}, but its {ROOT_KEY} is missing; fetch or restore "
                f"that file, or {_REMEDY}"
            )
        foreign = [key for key in keys if key.partition("/")[0] not in OWN_NAMES]
        if keys and (foreign or BEGINNING_KEY not in keys):
            raise AlreadyExistsError(
                f"{self._where} exists and holds {(foreign or keys)[0]!r}, which is not kdrec's; "
                "give the recording another name"
            )
        # The marker goes last: killed while clearing, the next process still knows whose it is.
        for key in sorted(keys, key=lambda key: key == BEGINNING_KEY):
            self._storage.delete(key)
