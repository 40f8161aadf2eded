"""How many bytes an array would take in a recording, without making one."""

from kdrec.store.arrays import AnyArray, create_hierarchy, static_array

_NAME = "array"


def stored_size(values: AnyArray) -> int:
    """Bytes of the chunks of these values, compressed as everything but logits is."""
    spec = static_array(_NAME, values, *(f"axis_{axis}" for axis in range(values.ndim)))
    files = create_hierarchy({}, [spec], {_NAME: values})
    return sum(len(data) for key, data in files.items() if key.startswith(f"{_NAME}/c/"))
