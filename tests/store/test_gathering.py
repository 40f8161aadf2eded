"""Reading records in any order, beside plain indexing of what was written."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import InvalidInputError
from kdrec.store import LocalStorage, RecordingReader
from kdrec.testing import make_recording

_VIEWS, _SAMPLES = 5, 20


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, npt.NDArray[np.float32]]:
    folder = tmp_path_factory.mktemp("gathering") / "r.zarr"
    return folder, make_recording(folder)


@pytest.fixture(scope="module", params=[2**20, 100], ids=["in memory", "in temporary files"])
def reader(
    request: pytest.FixtureRequest, written: tuple[Path, npt.NDArray[np.float32]]
) -> RecordingReader:
    return RecordingReader(LocalStorage(written[0]), where="r", memory=request.param)


_samples = st.lists(st.integers(0, _SAMPLES - 1), max_size=40)
_records = st.lists(st.tuples(st.integers(0, _VIEWS - 1), st.integers(0, _SAMPLES - 1)))


@given(view=st.integers(0, _VIEWS - 1), samples=_samples)
def test_samples_of_one_view_are_read_as_plain_indexing_gives_them(
    reader: RecordingReader,
    written: tuple[Path, npt.NDArray[np.float32]],
    view: int,
    samples: list[int],
) -> None:
    parameters, logits = reader.read(view, samples)
    assert np.array_equal(logits, written[1][view, np.array(samples, dtype=int)])
    drawn = reader.draw(np.full(len(samples), view), np.array(samples, dtype=int))
    assert np.array_equal(parameters.values_BP, drawn.values_BP)


@given(records=_records)
def test_records_of_several_view_groups_are_read_as_plain_indexing_gives_them(
    reader: RecordingReader,
    written: tuple[Path, npt.NDArray[np.float32]],
    records: Sequence[tuple[int, int]],
) -> None:
    views, samples = np.array(records, dtype=int).reshape(-1, 2).T
    parameters, logits = reader.read(views, samples)
    assert np.array_equal(logits, written[1][views, samples])
    assert np.array_equal(parameters.values_BP, reader.draw(views, samples).values_BP)


def test_what_was_read_is_the_readers_own_no_longer(reader: RecordingReader) -> None:
    parameters, logits = reader.read(0, [3, 4])
    kept = logits.copy(), parameters.values_BP.copy()
    logits[:] = 0
    parameters.values_BP[:] = 0
    again, logits_again = reader.read(0, [3, 4])
    assert np.array_equal(logits_again, kept[0])
    assert np.array_equal(again.values_BP, kept[1])


@pytest.mark.parametrize("wrong", [[-1], [0, _SAMPLES], np.array([2**63], dtype=np.uint64)])
def test_a_sample_out_of_range_is_named(reader: RecordingReader, wrong: list[int]) -> None:
    with pytest.raises(InvalidInputError, match=f"from 0 to 19, got {wrong[-1]}"):
        reader.read(0, wrong)


@pytest.mark.parametrize("wrong", [[1.0], ["1"], [True], np.array([1], dtype="m8[s]")])
def test_what_is_no_whole_number_is_refused(reader: RecordingReader, wrong: list[object]) -> None:
    with pytest.raises(InvalidInputError, match="samples must be integers"):
        reader.read(0, wrong)  # type: ignore[arg-type]
