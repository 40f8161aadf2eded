"""The formulas once more, in numpy and float64, written down from papers and published code.

Shape letters: B batch, C classes.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def log_softmax(logits_BC: npt.NDArray[np.floating], temperature: float) -> FloatArray:
    scaled_BC = logits_BC.astype(np.float64) / temperature
    scaled_BC -= scaled_BC.max(axis=1, keepdims=True)
    normalized: FloatArray = scaled_BC - np.log(np.exp(scaled_BC).sum(axis=1, keepdims=True))
    return normalized


def kl(left_BC: FloatArray, right_BC: FloatArray) -> FloatArray:
    """Of log-probabilities, per sample."""
    divergence: FloatArray = (np.exp(left_BC) * (left_BC - right_BC)).sum(axis=1)
    return divergence


def forward(student_BC: FloatArray, teacher_BC: FloatArray, temperature: float) -> FloatArray:
    student, teacher = log_softmax(student_BC, temperature), log_softmax(teacher_BC, temperature)
    return temperature**2 * kl(teacher, student)


def reverse(student_BC: FloatArray, teacher_BC: FloatArray, temperature: float) -> FloatArray:
    student, teacher = log_softmax(student_BC, temperature), log_softmax(teacher_BC, temperature)
    return temperature**2 * kl(student, teacher)


def decoupled(
    student_BC: FloatArray, teacher_BC: FloatArray, labels_B: npt.NDArray[np.int64],
    temperature: float, alpha: float, beta: float,
) -> FloatArray:  # fmt: skip
    """As the published code does it: sums of probabilities, and 1,000 off the target's logit."""
    target_BC = np.eye(student_BC.shape[1])[labels_B]
    student_p = np.exp(log_softmax(student_BC, temperature))
    teacher_p = np.exp(log_softmax(teacher_BC, temperature))

    def two_way(p_BC: FloatArray) -> FloatArray:
        return np.stack([(p_BC * target_BC).sum(1), (p_BC * (1 - target_BC)).sum(1)], axis=1)

    target_B = kl(np.log(two_way(teacher_p)), np.log(two_way(student_p)))
    others_B = kl(
        log_softmax(teacher_BC / temperature - 1000 * target_BC, 1.0),
        log_softmax(student_BC / temperature - 1000 * target_BC, 1.0),
    )
    return temperature**2 * (alpha * target_B + beta * others_B)


def standardized(logits_BC: FloatArray) -> FloatArray:
    mean = logits_BC.mean(axis=1, keepdims=True)
    deviation = logits_BC.std(axis=1, ddof=1, keepdims=True)
    found: FloatArray = (logits_BC - mean) / (1e-7 + deviation)
    return found


def multi_level(
    student_BC: FloatArray, teacher_BC: FloatArray, temperatures: tuple[float, ...]
) -> float:
    """kd_loss, bc_loss and cc_loss of the published code, summed over the temperatures."""
    found = 0.0
    num_samples, num_classes = student_BC.shape
    for temperature in temperatures:
        student_p = np.exp(log_softmax(student_BC, temperature))
        teacher_p = np.exp(log_softmax(teacher_BC, temperature))
        samples = ((teacher_p @ teacher_p.T - student_p @ student_p.T) ** 2).sum() / num_samples
        classes = ((teacher_p.T @ teacher_p - student_p.T @ student_p) ** 2).sum() / num_classes
        found += forward(student_BC, teacher_BC, temperature).mean() + samples + classes
    return float(found)
