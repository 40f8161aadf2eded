"""Random numbers by address."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec import rng
from kdrec.errors import InvalidInputError


def test_the_stream_never_changes() -> None:
    words = rng.words(7, view=3, stream=1, samples_B=[0, 5], num_words=3)
    assert words.tolist() == GOLDEN


GOLDEN = [
    [7807415126763877485, 14564289493208560707, 6177944217463216495],
    [12249413331744814721, 13934595485927033870, 16119000870508844279],
]


@given(
    samples=st.lists(st.integers(0, 10_000), min_size=1, max_size=40),
    num_words=st.integers(1, 9),
    seed=st.integers(0, rng.MAX_SEED),
    view=st.integers(0, 1_000_000),
)
def test_a_sample_has_the_same_words_in_any_company(
    samples: list[int], num_words: int, seed: int, view: int
) -> None:
    together = rng.words(seed, view=view, stream=2, samples_B=samples, num_words=num_words)
    for row, sample in zip(together, samples, strict=True):
        alone = rng.words(seed, view=view, stream=2, samples_B=[sample], num_words=num_words)
        np.testing.assert_array_equal(row, alone[0])


def test_seed_view_stream_and_sample_all_count() -> None:
    def one(seed: int = 0, view: int = 0, stream: int = 0, sample: int = 0) -> int:
        found = rng.words(seed, view=view, stream=stream, samples_B=[sample], num_words=1)
        return int(found[0, 0])

    found = {one(), one(seed=1), one(view=1), one(stream=1), one(sample=1), one(seed=2**64 - 1)}
    assert len(found) == 6


def test_consecutive_samples_do_not_overlap() -> None:
    words = rng.words(0, view=0, stream=0, samples_B=np.arange(1000), num_words=5)
    assert len(np.unique(words)) == words.size


@given(low=st.integers(-1000, 1000), count=st.integers(1, 500))
def test_integers_stay_in_range_and_reach_its_ends(low: int, count: int) -> None:
    words = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    found = rng.integers(words, low, low + count - 1)
    assert found[0] == low
    assert found[-1] == low + count - 1
    assert low <= found[1] < low + count


def test_integers_are_even() -> None:
    words = rng.words(1, view=0, stream=0, samples_B=np.arange(30_000), num_words=1)[:, 0]
    counts = np.bincount(rng.integers(words, 0, 9))
    assert abs(counts - 3000).max() < 250  # about 4.8 standard deviations


def test_uniform_is_below_one() -> None:
    assert rng.uniform(np.array([0, 2**64 - 1], dtype=np.uint64)).tolist() == [0.0, 1 - 2.0**-53]


def test_a_permutation_holds_every_number_once() -> None:
    words = rng.words(0, view=0, stream=0, samples_B=[0, 1], num_words=100)
    assert (np.sort(rng.permutation(words), axis=1) == np.arange(100)).all()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_named(seed: int) -> None:
    with pytest.raises(InvalidInputError, match=str(seed)):
        rng.words(seed, view=0, stream=0, samples_B=[0], num_words=1)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"5\.\.4"):
        rng.integers(np.zeros(1, np.uint64), 5, 4)
