"""Reading the arrays of a recording: files whole, checked against the ledger, then decoded.

What is missing or damaged raises: no path returns a fill value.

Shape letters: M proof records.
"""

from collections.abc import Mapping

import numpy as np

from kdrec.errors import IntegrityError, NotFoundError
from kdrec.store.array_layout import (
    ArrayLayout,
    check_dimensions,
    expected_dimensions,
    read_layout,
)
from kdrec.store.arrays import AnyArray, decode_files, text_of_fixed_width
from kdrec.store.contents import ProofRecords
from kdrec.store.ledger import HEADER_KEY, FileDigest
from kdrec.store.ledger_reader import LedgerReader
from kdrec.store.plan import Block
from kdrec.store.storage import ReadableStorage
from kdrec.store.stored_chunks import check_file
from kdrec.store.writer import ROOT_KEY


class ArrayReader:
    """The arrays of one recording.

    Args:
        storage: Where its files come from.
        ledger: What they must be.
    """

    def __init__(self, storage: ReadableStorage, ledger: LedgerReader) -> None:
        self._storage = storage
        self._ledger = ledger
        self._where, self._remedy = ledger.where, ledger.remedy
        self._header = ledger.header.files

    def has(self, name: str) -> bool:
        """Whether the recording keeps this static array, such as `samples/points`."""
        return f"{name}/{ROOT_KEY}" in self._header

    def read(self, name: str) -> AnyArray:
        """A static array, whole.

        Raises:
            NotFoundError: The recording does not keep it.
            IntegrityError: A file is missing or damaged.
        """
        if not self.has(name):
            raise NotFoundError(f"{self._where} keeps no {name}")
        keys = [key for key in self._header if key.startswith(f"{name}/")]
        files = {key.removeprefix(f"{name}/"): self._checked(key, self._header) for key in keys}
        metadata, where = files.pop(ROOT_KEY), f"{self._where}/{name}"
        self._check_decodable(name, metadata, files, where=where)
        return decode_files(metadata, files, where=where, remedy=self._remedy)

    def sample_names(self) -> tuple[str, ...] | None:
        """Names of the samples, None where the data had none."""
        name = "samples/name"
        if not self.has(name):
            return None
        try:
            return text_of_fixed_width(self.read(name))
        except UnicodeDecodeError as error:
            raise IntegrityError(f"{self._where}/{name} is no text; {self._remedy}") from error

    def proof(self) -> ProofRecords:
        """The proof records.

        Raises:
            IntegrityError: They are damaged, or of records that the plan does not have.
        """
        proof = ProofRecords(
            views_M=self.read("proof/view"),
            samples_M=self.read("proof/sample"),
            logits_MC=self.read("proof/logits"),
            fingerprints_MF=self.read("proof/fingerprint"),
        )
        grid = self._ledger.grid
        numbers = (proof.views_M, grid.views), (proof.samples_M, grid.samples)
        if any(((values < 0) | (values >= count)).any() for values, count in numbers):
            raise IntegrityError(
                f"{self._where}/proof is of records that the plan does not have; {self._remedy}"
            )
        return proof

    def width(self, name: str) -> tuple[str, int]:
        """Type and length of the last axis of an array."""
        key = f"{name}/{ROOT_KEY}"
        if key not in self._header:
            raise IntegrityError(f"{self._where}/{HEADER_KEY} lists no {key}; {self._remedy}")
        layout = self._layout(name, self._checked(key, self._header))
        return layout.dtype, layout.shape[-1]

    def read_shard(self, array: str, block: Block) -> AnyArray:
        """The values of a block, (views, samples, width).

        Raises:
            IncompleteError: The block is not (yet) here.
            IntegrityError: A file is missing or damaged.
        """
        key = block.shard_key(array)
        digests = self._ledger.entry(block).files
        where = f"{block} of {self._where}: {key}"
        if key not in digests:
            raise IntegrityError(f"{where} is not listed in its ledger entry; {self._remedy}")
        metadata = self._checked(f"{array}/{ROOT_KEY}", self._header)
        files = {key.removeprefix(f"{array}/"): self._checked(key, digests, where=where)}
        self._check_decodable(array, metadata, files, where=where)
        values = decode_files(
            metadata, files, (block.views, block.samples), where=where, remedy=self._remedy
        )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise IntegrityError(f"{where} lacks a chunk or holds NaN; {self._remedy}")
        return values

    def _checked(self, key: str, digests: Mapping[str, FileDigest], *, where: str = "") -> bytes:
        where = where or f"{self._where}/{key}"
        try:
            data = self._storage.read(key)
        except NotFoundError as error:
            raise IntegrityError(f"{where} is missing; {self._remedy}") from error
        except IntegrityError as error:  # a server's answer: only here is known what it was for
            raise IntegrityError(f"{where}: {error}") from error
        digests[key].check(data, where=where, remedy=self._remedy)
        return data

    def _check_decodable(
        self, array: str, metadata: bytes, files: Mapping[str, bytes], *, where: str
    ) -> None:
        """Before Zarr sees them: what is decoded has the manifest's shape and no more bytes."""
        layout = self._layout(array, metadata)
        for key, data in files.items():
            file = where if where.endswith(key) else f"{where}/{key}"
            check_file(data, layout, where=file, remedy=self._remedy)

    def _layout(self, array: str, metadata: bytes) -> ArrayLayout:
        where = f"{self._where}/{array}"
        layout = read_layout(metadata, where=where, remedy=self._remedy)
        wanted = expected_dimensions(array, self._ledger.manifest)
        if wanted is not None:
            check_dimensions(layout, wanted, where=where, remedy=self._remedy)
        return layout
