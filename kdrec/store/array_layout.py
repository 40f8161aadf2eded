"""What the metadata of an array say, checked before anything is allocated or decoded by them.

A recording may come from anywhere, and a forger can make all digests agree: shapes must be those of
the manifest, chunks of a sane size, and codecs those that kdrec writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from kdrec.errors import IntegrityError
from kdrec.store.manifest import Manifest

MOST_CHUNK_BYTES = 2**30
"""Of a decoded chunk; kdrec writes some megabytes, one sample at least."""
_OWN_CODECS = "kdrec"
_CODECS = frozenset({"bytes", "blosc", "crc32c", "transpose", "zstd"})
_SHARDING = "sharding_indexed"

Dimensions = Sequence[int | None]


class _Codec(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: str
    configuration: dict[str, Any] = {}


class _GridShape(BaseModel):
    chunk_shape: list[PositiveInt]


class _Grid(BaseModel):
    name: Literal["regular"]
    configuration: _GridShape


class _Sharding(BaseModel):
    chunk_shape: list[PositiveInt]
    codecs: list[_Codec]
    index_codecs: list[_Codec]
    index_location: Literal["end"] = "end"


class _ArrayMetadata(BaseModel):
    """The part of a Zarr v3 array's `zarr.json` that matters here."""

    model_config = ConfigDict(extra="ignore", strict=True)

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: list[NonNegativeInt]
    data_type: str
    chunk_grid: _Grid
    codecs: list[_Codec]


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How the values of an array lie in its files.

    Attributes:
        shape: Of the array.
        file_shape: Of the values in one file.
        chunk_shape: Of what is decoded at once; the file's where it is no shard.
        dtype: Of a value.
        codecs: Names of the codecs of a chunk, in the order of encoding.
        sharded: Whether a file is a shard.
    """

    shape: tuple[int, ...]
    file_shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: str
    codecs: tuple[str, ...]
    sharded: bool

    @property
    def chunk_bytes(self) -> int:
        """Of a decoded chunk."""
        return prod(self.chunk_shape) * np.dtype(self.dtype).itemsize

    @property
    def chunks_per_file(self) -> int:
        """1 where it is no shard."""
        return prod(f // c for f, c in zip(self.file_shape, self.chunk_shape, strict=True))


def read_layout(metadata: bytes, *, where: str, remedy: str) -> ArrayLayout:
    """The layout of an array.

    Args:
        metadata: Its `zarr.json`.
        where: Which array, for the error.
        remedy: What to do, for the error.

    Raises:
        IntegrityError: It is not one that kdrec writes.
    """
    try:
        found = _ArrayMetadata.model_validate_json(metadata)
        sharding = [c for c in found.codecs if c.name == _SHARDING]
        inner = _Sharding.model_validate(sharding[0].configuration) if sharding else None
        dtype = np.dtype(found.data_type).name
    except (ValidationError, TypeError) as error:
        words = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{where}: its metadata are not kdrec's: {words}; {remedy}") from error
    codecs = found.codecs if inner is None else [*inner.codecs, *inner.index_codecs]
    layout = ArrayLayout(
        shape=tuple(found.shape),
        file_shape=tuple(found.chunk_grid.configuration.chunk_shape),
        chunk_shape=tuple((inner or found.chunk_grid.configuration).chunk_shape),
        dtype=dtype,
        codecs=tuple(c.name for c in (found.codecs if inner is None else inner.codecs)),
        sharded=inner is not None,
    )
    problem = _problem(layout, [codec.name for codec in codecs], len(found.codecs))
    if problem:
        raise IntegrityError(f"{where}: {problem}; {remedy}")
    return layout


def _problem(layout: ArrayLayout, codecs: Sequence[str], num_outer: int) -> str | None:
    foreign = [n for n in codecs if n not in _CODECS and not n.startswith(_OWN_CODECS)]
    if foreign:
        return f"codec {foreign[0]!r} is none that kdrec writes"
    if layout.sharded and num_outer != 1:
        return "its shards are encoded once more, which kdrec never does"
    if not len(layout.shape) == len(layout.file_shape) == len(layout.chunk_shape):
        return "its shape and its chunks differ in their number of axes"
    if any(f % c for f, c in zip(layout.file_shape, layout.chunk_shape, strict=True)):
        return f"chunks of {layout.chunk_shape} do not divide a shard of {layout.file_shape}"
    if layout.chunk_bytes > MOST_CHUNK_BYTES:
        return f"a chunk would take {layout.chunk_bytes} bytes, allowed are {MOST_CHUNK_BYTES}"
    return None


def expected_dimensions(name: str, manifest: Manifest) -> Dimensions | None:
    """What the shape of an array must be; None for a free axis, or for an array not known here."""
    views, samples = manifest.plan.views, manifest.plan.data.num_samples
    num_classes, kept = manifest.classes.num_teacher, manifest.plan.encoding.kept
    width = num_classes if kept is None else min(kept, num_classes)
    known: dict[str, Dimensions] = {
        "logits": (views, samples, width),
        "classes": (views, samples, width),
        "mass": (views, samples, 2),
        "params": (views, samples, len(manifest.parameters)),
        "samples/digest": (samples, 16),
        "samples/sketch": (samples, 16),
        "samples/label": (samples,),
        "samples/name": (samples, None),
        "samples/number": (samples,),
        "samples/points": (
            samples,
            manifest.plan.data.num_points,
            len(manifest.plan.data.channels),
        ),
        "proof/view": (manifest.num_proof,),
        "proof/sample": (manifest.num_proof,),
        "proof/logits": (manifest.num_proof, manifest.classes.num_teacher),
        "proof/fingerprint": (manifest.num_proof, 8),
    }
    return known.get(name)


def check_dimensions(layout: ArrayLayout, wanted: Dimensions, *, where: str, remedy: str) -> None:
    """Whether an array has the shape that the manifest says.

    Raises:
        IntegrityError: It has not.
    """
    fits = len(layout.shape) == len(wanted) and all(
        want in (None, have) for want, have in zip(wanted, layout.shape, strict=True)
    )
    if not fits:
        allowed = ", ".join("any" if want is None else str(want) for want in wanted)
        raise IntegrityError(
            f"{where} has shape {layout.shape}, the manifest says ({allowed}); {remedy}"
        )
