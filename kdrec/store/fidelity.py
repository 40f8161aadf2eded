"""How much of the teacher is left in stored logits: exact ones beside what is read back.

All arithmetic is float64 and starts from logits, so that no divergence drowns in rounding: each of
its terms is computed as a non-negative number.

Shape letters: K records, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError

TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
CALIBRATION_BINS = 15
_SMALL = 1.0  # below this difference of log-probabilities the series of exp is the exact way

Logits = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Mean Kullback-Leibler divergence over records, in nats.

    Attributes:
        temperature: Softens both sides.
        forward: KL(teacher || stored).
        reverse: KL(stored || teacher).
    """

    temperature: float
    forward: float
    reverse: float

    @property
    def larger(self) -> float:
        """Of the two directions."""
        return max(self.forward, self.reverse)


@dataclass(frozen=True, slots=True)
class ClassFidelity:
    """The records of one class.

    Attributes:
        column: The teacher's column of their label, or, without labels, the one it prefers.
        records: How many.
        divergences: One a temperature.
    """

    column: int
    records: int
    divergences: tuple[Divergence, ...]

    @property
    def worst(self) -> float:
        """The largest of its mean divergences."""
        return max(divergence.larger for divergence in self.divergences)


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error of both sides, 0 to 1.

    Attributes:
        teacher: Of the exact logits.
        stored: Of what is read back.
    """

    teacher: float
    stored: float

    @property
    def change(self) -> float:
        """What storing adds."""
        return self.stored - self.teacher


@dataclass(frozen=True, slots=True)
class WorstRecord:
    """The record with the largest divergence at any temperature, in either direction."""

    row: int
    temperature: float
    divergence: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """See `measure_fidelity`.

    Attributes:
        records: Compared.
        divergences: One a temperature, over all records.
        by_class: In the order of the columns.
        agreement: Share of records whose best class is the same.
        calibration: None without labels.
        largest_error: Greatest difference of a logit.
        worst: The worst record.
    """

    records: int
    divergences: tuple[Divergence, ...]
    by_class: tuple[ClassFidelity, ...]
    agreement: float
    calibration: CalibrationError | None
    largest_error: float
    worst: WorstRecord

    @property
    def worst_class(self) -> ClassFidelity:
        """The class with the largest mean divergence."""
        return max(self.by_class, key=lambda fidelity: fidelity.worst)


def measure_fidelity(
    teacher_KC: Logits, stored_KC: Logits, *, labels_K: Columns | None = None
) -> Fidelity:
    """Compare stored logits with the teacher's.

    Args:
        teacher_KC: Exact logits, shape (records, classes).
        stored_KC: The same records as they are read back.
        labels_K: Column of each record's label, from 0; None without labels.

    Raises:
        InvalidInputError: The shapes differ, there is no record, a label is out of range, or a
            logit is not finite.
    """
    _check(teacher_KC, stored_KC, labels_K)
    teacher, stored = teacher_KC.astype(np.float64), stored_KC.astype(np.float64)
    both_ways = {t: divergences(teacher, stored, temperature=t) for t in TEMPERATURES}
    best_K = teacher.argmax(axis=1)
    classes_K = best_K if labels_K is None else labels_K
    return Fidelity(
        records=len(teacher),
        divergences=_means(both_ways, np.ones(len(teacher), dtype=bool)),
        by_class=tuple(
            ClassFidelity(int(c), int((classes_K == c).sum()), _means(both_ways, classes_K == c))
            for c in np.unique(classes_K)
        ),
        agreement=float((best_K == stored.argmax(axis=1)).mean()),
        calibration=None
        if labels_K is None
        else CalibrationError(
            teacher=calibration_error(teacher, labels_K), stored=calibration_error(stored, labels_K)
        ),
        largest_error=float(np.abs(stored - teacher).max()),
        worst=_find_worst(both_ways),
    )


def divergences(
    teacher_KC: Logits, stored_KC: Logits, *, temperature: float
) -> tuple[Float64Array, Float64Array]:
    """KL(teacher || stored) and KL(stored || teacher) of every record, in nats, shape (K,).

    Args:
        teacher_KC: Logits.
        stored_KC: Logits of the same shape.
        temperature: Above 0.
    """
    log_p_KC = _log_softmax(teacher_KC.astype(np.float64) / temperature)
    log_q_KC = _log_softmax(stored_KC.astype(np.float64) / temperature)
    return _divergence(log_p_KC, log_q_KC), _divergence(log_q_KC, log_p_KC)


def _log_softmax(logits_KC: Float64Array) -> Float64Array:
    below_KC = logits_KC - logits_KC.max(axis=1, keepdims=True)
    log_KC: Float64Array = below_KC - np.log(np.exp(below_KC).sum(axis=1, keepdims=True))
    return log_KC


def _divergence(log_p_KC: Float64Array, log_q_KC: Float64Array) -> Float64Array:
    # p * log(p / q) alone sums to a tiny number from terms of both signs: at the fidelity of a good
    # encoding nothing but rounding is left of it. With q - p added, which sums to 0, no term is
    # negative, and where p is close to q, q - p is p * expm1(log(q / p)).
    p_KC, ratio_KC = np.exp(log_p_KC), log_p_KC - log_q_KC
    near_KC = np.clip(ratio_KC, -_SMALL, _SMALL)
    small_KC = p_KC * (near_KC + np.expm1(-near_KC))
    large_KC = p_KC * ratio_KC + (np.exp(log_q_KC) - p_KC)
    divergence_K: Float64Array = np.where(np.abs(ratio_KC) <= _SMALL, small_KC, large_KC).sum(
        axis=1
    )
    return divergence_K


def calibration_error(logits_KC: Logits, labels_K: Columns) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, 0 to 1.

    Args:
        logits_KC: Shape (records, classes).
        labels_K: Column of each record's label.

    References:
        Guo et al., On Calibration of Modern Neural Networks, 2017: 15 bins of equal width,
        weighted by their records.
    """
    probabilities_KC = np.exp(_log_softmax(logits_KC.astype(np.float64)))
    confidence_K = probabilities_KC.max(axis=1)
    correct_K = probabilities_KC.argmax(axis=1) == labels_K
    bins_K = np.minimum((confidence_K * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins_K, confidence_K - correct_K, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels_K))


_BothWays = dict[float, tuple[Float64Array, Float64Array]]


def _means(both_ways: _BothWays, rows_K: npt.NDArray[np.bool_]) -> tuple[Divergence, ...]:
    return tuple(
        Divergence(t, float(forward_K[rows_K].mean()), float(reverse_K[rows_K].mean()))
        for t, (forward_K, reverse_K) in both_ways.items()
    )


def _find_worst(both_ways: _BothWays) -> WorstRecord:
    larger = {t: np.maximum(*ways) for t, ways in both_ways.items()}
    temperature = max(larger, key=lambda t: float(larger[t].max()))
    row = int(larger[temperature].argmax())
    return WorstRecord(row, temperature, float(larger[temperature][row]))


def _check(teacher_KC: Logits, stored_KC: Logits, labels_K: Columns | None) -> None:
    if teacher_KC.ndim != 2 or 0 in teacher_KC.shape or teacher_KC.shape != stored_KC.shape:
        raise InvalidInputError(
            f"logits must be of the same records and classes, at least one of each; got shapes "
            f"{teacher_KC.shape} and {stored_KC.shape}"
        )
    for name, logits_KC in (("teacher's", teacher_KC), ("stored", stored_KC)):
        wrong_K = ~np.isfinite(logits_KC).all(axis=1)
        if wrong_K.any():
            raise InvalidInputError(
                f"logits must be finite; the {name} of record {int(wrong_K.argmax())} are not"
            )
    if labels_K is None:
        return
    num_classes = teacher_KC.shape[1]
    outside = labels_K[(labels_K < 0) | (labels_K >= num_classes)]
    if labels_K.shape != (len(teacher_KC),) or len(outside):
        raise InvalidInputError(
            f"labels must be one column from 0 to {num_classes - 1} for each of "
            f"{len(teacher_KC)} records; got shape {labels_K.shape}"
            + (f" with {int(outside[0])}" if len(outside) else "")
        )
