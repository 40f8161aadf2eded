"""Random numbers from a counter: the same for any order, any block split, any numpy version.

A number is addressed, never drawn from a state: (seed, view, stream, sample, position). The bits
come from numpy's Philox 4x64-10 bit generator, whose stream numpy guarantees; the methods of
`numpy.random.Generator` carry no such guarantee and are not used.

Shape letters: B samples asked for, W 64-bit words per sample.

References:
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError

IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]

_KEY = 0x6B64726563  # "kdrec": keeps our streams apart from another program's with the same seed
_WORDS_PER_BLOCK = 4
MAX_SEED = 2**64 - 1


def words(
    seed: int, *, view: int, stream: int, samples_B: npt.ArrayLike, num_words: int
) -> WordArray:
    """Independent uniform 64-bit words for each sample.

    Args:
        seed: From 0 to 2^64 - 1.
        view: Number of the view, from 0.
        stream: Keeps apart what is drawn for different purposes from the same seed and view.
        samples_B: Sample numbers, from 0, in any order.
        num_words: Words per sample. Part of the address: ask for the same number every time.

    Returns:
        Shape (B, num_words), unsigned 64-bit.

    Raises:
        InvalidInputError: The seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInputError(f"seed must be from 0 to 2^64 - 1, got {seed}")
    samples = np.atleast_1d(np.asarray(samples_B, dtype=np.int64))
    blocks = -(-num_words // _WORDS_PER_BLOCK)
    words_BW = np.empty((len(samples), blocks * _WORDS_PER_BLOCK), dtype=np.uint64)
    for start, stop in _runs(samples):
        counter = np.array([int(samples[start]) * blocks, stream, view, 0], dtype=np.uint64)
        philox = np.random.Philox(key=np.array([seed, _KEY], dtype=np.uint64), counter=counter)
        words_BW[start:stop] = philox.random_raw(
            (stop - start) * blocks * _WORDS_PER_BLOCK
        ).reshape(stop - start, -1)
    return words_BW[:, :num_words]


def _runs(samples: IntArray) -> Iterator[tuple[int, int]]:
    """Stretches of consecutive sample numbers, each one read of the bit stream."""
    if len(samples) == 0:
        return
    breaks = np.flatnonzero(np.diff(samples) != 1) + 1
    edges = [0, *breaks.tolist(), len(samples)]
    yield from pairwise(edges)


def integers(word: WordArray, low: int, high: int) -> IntArray:
    """Words to integers, uniform over low..high inclusive, by integer arithmetic only.

    The upper 32 bits are scaled, so that the bias is at most (high - low + 1) / 2^32.

    Raises:
        InvalidInputError: The range is empty or holds more than 2^31 values.
    """
    count = high - low + 1
    if not 0 < count <= 2**31:
        raise InvalidInputError(f"range must hold 1 to 2^31 integers, got {low}..{high}")
    upper = word >> np.uint64(32)
    return ((upper * np.uint64(count)) >> np.uint64(32)).astype(np.int64) + low


def uniform(word: WordArray) -> npt.NDArray[np.float64]:
    """Words to float64, uniform over [0, 1), 53 bits each."""
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(word_BW: WordArray) -> IntArray:
    """Words to a random order of 0..W-1 for each row, shape (B, W)."""
    return np.argsort(word_BW, axis=-1, kind="stable").astype(np.int64)
