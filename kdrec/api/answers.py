"""The JSON that the service answers with."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kdrec.api.recording import ServedRecording
from kdrec.errors import ErrorKind, KdrecError
from kdrec.store import Manifest

_DIGEST = "9f2c7b1e" * 8


def _example(**fields: Any) -> ConfigDict:
    """For the OpenAPI description."""
    return ConfigDict(json_schema_extra={"example": fields})


_MANIFEST: dict[str, Any] = {
    "format_version": 1,
    "readable_since": "0.1.0",
    "plan": {
        "teacher": {"name": "pointnet", "tensors": _DIGEST},
        "data": {
            "digest": _DIGEST,
            "num_samples": 9840,
            "num_points": 1024,
            "channels": ["x", "y", "z"],
        },
        "augmentation": {
            "operations": [{"op": "scale", "low": 0.9, "high": 1.1}, {"op": "normalize"}],
        },
        "seed": 0,
        "views": 300,
        "group": 8,
        "batch_size": 32,
        "block_samples": 9856,
        "threads": 1,
        "encoding": {"name": "compact", "max_kl": 2.5e-4},
        "with_samples": True,
    },
    "classes": {"num_teacher": 40, "data": None},
    "parameters": [
        {"name": "scale_x", "low": 58983, "high": 72089, "exponent": 16, "unit": "factor"},
        {"name": "scale_y", "low": 58983, "high": 72089, "exponent": 16, "unit": "factor"},
        {"name": "scale_z", "low": 58983, "high": 72089, "exponent": 16, "unit": "factor"},
    ],
    "bound": {"relative": 4.77e-7, "absolute": 0.1145, "spread": 16.0, "mean_kl": 2.5e-4},
    "num_proof": 64,
}


class Health(BaseModel):
    """Of the service."""

    status: str = "ok"


class BlockCount(BaseModel):
    """How far a recording is."""

    committed: int
    total: int


class ListedError(BaseModel):
    """Why a recording in the list cannot be served."""

    kind: ErrorKind
    detail: str


class ListedRecording(BaseModel):
    """A recording in the list.

    Attributes:
        identity: None while it is recorded.
        blocks: None for one that cannot be served.
        error: None for one that can.
    """

    name: str
    identity: str | None = None
    blocks: BlockCount | None = None
    error: ListedError | None = None

    @classmethod
    def of(cls, recording: ServedRecording) -> "ListedRecording":
        """A recording that can be served."""
        return cls(name=recording.name, identity=recording.identity, blocks=count_blocks(recording))

    @classmethod
    def failed(cls, name: str, error: KdrecError) -> "ListedRecording":
        """A recording that cannot."""
        return cls(name=name, error=ListedError(kind=error.kind, detail=str(error)))


class RecordingPage(BaseModel):
    """A part of the list.

    Attributes:
        total: Recordings in the whole list.
        next: Offset of the next page, None on the last.
    """

    recordings: list[ListedRecording]
    total: int
    next: int | None

    model_config = _example(
        recordings=[
            {"name": "mn40", "identity": _DIGEST, "blocks": {"committed": 38, "total": 38}},
            {"name": "running", "identity": None, "blocks": {"committed": 5, "total": 38}},
        ],
        total=2,
        next=None,
    )


class RecordingAnswer(BaseModel):
    """One recording.

    Attributes:
        identity: Digest of the seal, None until there is one.
        header: Digest of the ledger's first entry; the same before and after sealing.
    """

    name: str
    identity: str | None
    header: str
    sealed: bool
    blocks: BlockCount
    manifest: Manifest

    model_config = _example(
        name="mn40",
        identity=_DIGEST,
        header=_DIGEST,
        sealed=True,
        blocks={"committed": 38, "total": 38},
        manifest=_MANIFEST,
    )

    @classmethod
    def of(cls, recording: ServedRecording) -> "RecordingAnswer":
        """Of a recording, now."""
        return cls(
            name=recording.name,
            identity=recording.identity,
            header=recording.reader.header.digest,
            sealed=recording.identity is not None,
            blocks=count_blocks(recording),
            manifest=recording.reader.manifest,
        )


class LedgerFile(BaseModel):
    """Size and digest of a file."""

    size: int
    sha256: str


class LedgerBlock(BaseModel):
    """A committed block, its files by key."""

    files: dict[str, LedgerFile]


class LedgerAnswer(BaseModel):
    """Everything that is committed; blocks by name."""

    header: str
    identity: str | None
    blocks: dict[str, LedgerBlock]

    model_config = _example(
        header=_DIGEST,
        identity=None,
        blocks={
            "g00000-p00000": {"files": {"logits/c/0/0/0": {"size": 1048576, "sha256": _DIGEST}}}
        },
    )


class RecordsAnswer(BaseModel):
    """Some records of one view.

    Attributes:
        records: Each an object of the columns that were asked for; `logits` is a list.
    """

    view: int
    records: list[dict[str, int | float | list[float]]]

    model_config = _example(
        view=3, records=[{"sample": 7, "scale": 1.0625, "logits": [4.25, -1.5, 0.125]}]
    )


def count_blocks(recording: ServedRecording) -> BlockCount:
    """Progress of a recording, now."""
    return BlockCount(committed=len(recording.committed()), total=len(recording.reader.grid))
