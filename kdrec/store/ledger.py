"""The ledger and the seal: digest and size of everything that is committed.

`ledger/header.json` lists the files a recording begins with; `ledger/BLOCK.json` those of a block,
written after them; `seal.json` lists every file, the ledger included, when all blocks are there.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from kdrec.errors import IntegrityError
from kdrec.store.documents import body_digest, open_document, seal_document, sha256
from kdrec.store.plan import Frozen

HEADER_KEY = "ledger/header.json"
SEAL_KEY = "seal.json"


class FileDigest(Frozen):
    """One file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> "FileDigest":
        """Of these bytes."""
        return cls(size=len(data), sha256=sha256(data))

    def check(self, data: bytes, *, where: str, remedy: str) -> None:
        """Compare.

        Raises:
            IntegrityError: The bytes are others; names both digests.
        """
        if len(data) != self.size:
            raise IntegrityError(
                f"{where} has {len(data)} bytes, the ledger says {self.size}; {remedy}"
            )
        found = sha256(data)
        if found != self.sha256:
            raise IntegrityError(
                f"{where} does not match its digest (ledger {self.sha256[:8]}.., "
                f"found {found[:8]}..); {remedy}"
            )


class Correct(Frozen):
    """How often the teacher was right, counted over records.

    Attributes:
        records: All.
        of_all: Best of all teacher columns is the label's.
        of_mapped: Best of the columns of the data's classes is the label's.
    """

    records: int = 0
    of_all: int = 0
    of_mapped: int = 0

    def __add__(self, other: "Correct") -> "Correct":
        return Correct(
            records=self.records + other.records,
            of_all=self.of_all + other.of_all,
            of_mapped=self.of_mapped + other.of_mapped,
        )


class _Document(Frozen):
    """A file that notices its own damage."""

    def to_bytes(self) -> bytes:
        """As in its file."""
        return seal_document(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """The digest that stands in its file."""
        return body_digest(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str, remedy: str) -> Self:
        """Read back.

        Raises:
            IntegrityError: A byte was changed.
        """
        body = open_document(data, where=where, remedy=remedy)
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise IntegrityError(f"{where} is damaged: {error}; {remedy}") from error


class LedgerEntry(_Document):
    """What was committed at once.

    Attributes:
        block: Name of the block, or `header`.
        recording: Digest of the header's entry, so that blocks of two recordings never mix; empty
            in the header itself.
        files: By key.
        correct: The teacher's score where the data have labels.
        batch_size: That the block was recorded with, under a plan that is `fast`, because the
            device had not the memory for the plan's. Not written where it is the plan's.
    """

    block: str
    recording: str = ""
    files: dict[str, FileDigest]
    correct: Correct | None = None
    batch_size: int | None = Field(default=None, ge=1)

    @model_serializer(mode="wrap")
    def _without_usual_batch_size(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        if self.batch_size is None:
            del written["batch_size"]
        return written


class Seal(_Document):
    """Every file of a finished recording; its digest is the recording's identity."""

    files: dict[str, FileDigest]

    def check_header(self, header: LedgerEntry, *, where: str, remedy: str) -> None:
        """Whether it is the seal of the recording that begins so.

        Raises:
            IntegrityError: It is another's.
        """
        if self.files.get(HEADER_KEY) != FileDigest.of(header.to_bytes()):
            raise IntegrityError(f"{where} belongs to another recording; {remedy}")


def digest_files(files: Mapping[str, bytes]) -> dict[str, FileDigest]:
    """Digests of several files."""
    return {key: FileDigest.of(data) for key, data in files.items()}
