"""How much of a teacher is left in decoded logits, in double precision.

Shape letters: R records, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over records.

    Attributes:
        forward: Kullback-Leibler divergence of the decoded from the teacher, in nats, at each
            temperature asked for.
        reverse: The other direction.
        agreement: Share of the records whose largest logit is the teacher's.
    """

    forward: tuple[float, ...]
    reverse: tuple[float, ...]
    agreement: float


def measure_fidelity(
    teacher_RC: Logits, decoded_RC: Logits, temperatures: tuple[float, ...] = (1.0, 4.0)
) -> Fidelity:
    """Compare decoded logits (or log-probabilities) with the teacher's."""
    both = [_divergences(teacher_RC, decoded_RC, temperature) for temperature in temperatures]
    return Fidelity(
        forward=tuple(forward for forward, _ in both),
        reverse=tuple(reverse for _, reverse in both),
        agreement=float((teacher_RC.argmax(axis=1) == decoded_RC.argmax(axis=1)).mean()),
    )


def _divergences(teacher_RC: Logits, decoded_RC: Logits, temperature: float) -> tuple[float, float]:
    teacher, decoded = _log_softmax(teacher_RC, temperature), _log_softmax(decoded_RC, temperature)
    difference = teacher - decoded
    forward = (np.exp(teacher) * difference).sum(axis=1).mean()
    reverse = (np.exp(decoded) * -difference).sum(axis=1).mean()
    return float(forward), float(reverse)


def _log_softmax(logits_RC: Logits, temperature: float) -> npt.NDArray[np.float64]:
    scaled = logits_RC.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    normalised: npt.NDArray[np.float64] = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return normalised
