"""How many bytes an array would take in a recording, without making one."""

from kdrec.store.arrays import AnyArray, create_hierarchy, encode_chunks, static_array

_NAME = "array"


def stored_size(values: AnyArray) -> int:
    """Bytes of the chunks of these values, compressed as everything but logits is."""
    spec = static_array(_NAME, values, *(f"axis_{axis}" for axis in range(values.ndim)))
    metadata = create_hierarchy({}, [spec])[f"{_NAME}/zarr.json"]
    return sum(len(data) for _, data in encode_chunks(spec, metadata, values))
