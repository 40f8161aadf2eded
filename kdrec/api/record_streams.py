"""Records as Arrow IPC stream or as JSON, piece by piece."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from fastapi import HTTPException

from kdrec.api.records import Column
from kdrec.errors import ErrorKind, InvalidInputError

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
Batches = Iterator[Mapping[str, Column]]


def choose_format(accept: str | None) -> str:
    """The media type to answer with: JSON unless Arrow is preferred.

    Raises:
        HTTPException: Neither is accepted.
    """
    weights = {kind: _weight(accept or "*/*", kind) for kind in (JSON, ARROW)}
    best = max(weights, key=lambda kind: weights[kind])  # the first one of equals
    if weights[best] <= 0:
        raise HTTPException(406, f"records come as {JSON} or {ARROW}, not as {accept}")
    return best


def _weight(accept: str, kind: str) -> float:
    """The weight of the most specific entry that covers a media type (RFC 9110, section 12.5.1)."""
    found: dict[str, float] = {}
    for entry in accept.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        found[name] = float(quality) if re.fullmatch(r"[01](\.[0-9]{0,3})?", quality) else 0.0
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if name in found:
            return found[name]
    return 0.0


def json_stream(batches: Batches, *, view: int) -> Iterator[bytes]:
    """One object: the view, and a list of records, each an object of its columns."""
    separator = f'{{"view":{view},"records":['.encode()
    for batch in batches:
        columns = {name: values.tolist() for name, values in batch.items()}
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        text = ",".join(json.dumps(row, separators=(",", ":")) for row in rows)
        yield separator + text.encode()
        separator = b","
    yield b"]}"


def arrow_stream(batches: Batches, *, metadata: Mapping[str, str]) -> Iterator[bytes]:
    """An Arrow IPC stream of record batches; logits are lists of a fixed size.

    Args:
        batches: At least one.
        metadata: Of the schema.

    Raises:
        InvalidInputError: nanoarrow is not installed.
    """
    try:
        from nanoarrow import ipc
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"this service has no nanoarrow for {ARROW}; ask for {JSON}, or have it installed: "
            "pip install 'kdrec[serve]'",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error
    sink = io.BytesIO()
    writer = ipc.StreamWriter.from_writable(sink)
    for batch in batches:
        writer.write_array(_record_batch(batch, metadata))
        yield _taken(sink)
    writer.close()  # only at the end: it writes the mark that nothing is missing
    yield _taken(sink)


def _record_batch(batch: Mapping[str, Column], metadata: Mapping[str, str]) -> Any:
    import nanoarrow
    from nanoarrow.c_array import c_array_from_buffers

    columns = {name: _arrow_column(values) for name, values in batch.items()}
    fields = nanoarrow.struct({name: column.schema for name, column in columns.items()})
    schema = nanoarrow.c_schema(fields).modify(metadata=dict(metadata))
    length = len(next(iter(batch.values())))
    return c_array_from_buffers(schema, length, [None], children=list(columns.values()))


def _arrow_column(values: Column) -> Any:
    import nanoarrow
    from nanoarrow.c_array import c_array_from_buffers

    flat = nanoarrow.c_array(np.ascontiguousarray(values).ravel())
    if values.ndim == 1:
        return flat
    lists = nanoarrow.fixed_size_list(flat.schema, values.shape[1])
    return c_array_from_buffers(lists, len(values), [None], children=[flat])


def _taken(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data
