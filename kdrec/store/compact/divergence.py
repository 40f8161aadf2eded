"""How far decoded logits are from the teacher's, fast enough to be asked of every record.

Kullback-Leibler divergence both ways at temperatures 8, 4, 2 and 1: one exponential a side at 8,
then squared. Single precision: wrong by less than 1e-6 nats a record, which the bound allows for.

Shape letters: K records, C classes, T temperatures.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

TEMPERATURES = (8, 4, 2, 1)
_RECORDS = 1024  # of a piece that stays in the processor's cache


def mean_divergence(
    teacher_CK: npt.NDArray[np.float32],
    decode: Callable[[slice], npt.NDArray[np.float32]],
) -> float:
    """The greatest of the eight means over records: both directions, every temperature, in nats.

    Args:
        teacher_CK: The teacher's logits.
        decode: What becomes of some of the records when they are encoded and decoded, (C, k).
    """
    num_records = teacher_CK.shape[1]
    total = np.zeros((2, len(TEMPERATURES)))
    for start in range(0, num_records, _RECORDS):
        piece = slice(start, start + _RECORDS)
        total += divergences(teacher_CK[:, piece], decode(piece)).sum(axis=2)
    return float(total.max() / max(1, num_records))


def divergences(
    teacher_CK: npt.NDArray[np.float32], decoded_CK: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Of every record, shape (2, T, K): decoded from teacher, then teacher from decoded."""
    greatest_K = teacher_CK.max(axis=0)
    difference_CK = decoded_CK - teacher_CK
    hottest = np.float32(1 / TEMPERATURES[0])
    teacher_CK = np.exp((teacher_CK - greatest_K) * hottest)
    decoded_CK = np.exp((decoded_CK - greatest_K) * hottest)
    found = np.empty((2, len(TEMPERATURES), difference_CK.shape[1]))
    for row, temperature in enumerate(TEMPERATURES):
        if row:
            np.square(teacher_CK, out=teacher_CK)
            np.square(decoded_CK, out=decoded_CK)
        sums_K = teacher_CK.sum(axis=0, dtype=np.float32), decoded_CK.sum(axis=0, dtype=np.float32)
        shift_K = np.log(sums_K[1] / sums_K[0])
        forward_K = np.einsum("ck,ck->k", teacher_CK, difference_CK) / (temperature * sums_K[0])
        reverse_K = np.einsum("ck,ck->k", decoded_CK, difference_CK) / (temperature * sums_K[1])
        found[0, row] = shift_K - forward_K
        found[1, row] = reverse_K - shift_K
    return found
