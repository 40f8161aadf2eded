from pathlib import Path

import numpy as np
import pytest

from kdrec.errors import StorageError
from kdrec.store import allocated_array


@pytest.mark.parametrize("shape", [(3, 4), (2, 0, 5), (1,)])
def test_an_array_has_its_room_and_leaves_no_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found = allocated_array(shape, "<f4", folder=tmp_path)
    found[...] = np.arange(found.size).reshape(shape)
    np.testing.assert_array_equal(found.ravel(), np.arange(found.size))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(2**42, 2**10), (2**70,)])
def test_room_that_is_not_there_is_an_error_at_once(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(StorageError, match="make room there"):
        allocated_array(shape, "<f4", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
