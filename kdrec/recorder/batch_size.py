"""The largest batch that a device has the memory for, found by trying.

Shape letters: B batch, N points, D channels.
"""

import numpy as np
import torch

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.teacher import Teacher
from kdrec.samples import SampleSet

_FIRST = 8
# Our choice: a GPU is busy well before, and a CPU's caches are full.
MOST_ON_GPU, MOST_ON_CPU = 4096, 256


def largest_batch_size(teacher: Teacher, samples: SampleSet) -> int:
    """Double the batch until the teacher runs out of memory, or a larger one serves nothing.

    What serves nothing is a batch above the number of samples (a batch holds one view), above 4096
    on a GPU or 256 on a CPU, where the system would rather end the process than refuse memory.

    Args:
        teacher: On its device.
        samples: Preprocessed; they are repeated to fill a batch. Augmentation adds no points.

    Returns:
        A power of two.

    Raises:
        InvalidInputError: The teacher fails, or has not the memory for one sample.
    """
    most = MOST_ON_GPU if teacher.device.type == "cuda" else MOST_ON_CPU
    size = _FIRST
    while size > 1 and not _fits(teacher, samples, size):
        size //= 2
    if size == 1:
        _ask(teacher, samples, 1)  # whatever is wrong is said by this call
    while size >= _FIRST and 2 * size <= most and size < len(samples):
        if not _fits(teacher, samples, 2 * size):
            break
        size *= 2
    return size


def _fits(teacher: Teacher, samples: SampleSet, size: int) -> bool:
    try:
        _ask(teacher, samples, size)
    except InvalidInputError as error:
        if error.kind is not ErrorKind.OUT_OF_MEMORY:
            raise
        return False
    finally:
        if teacher.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _ask(teacher: Teacher, samples: SampleSet, size: int) -> None:
    points_BND = samples.points_SND[np.arange(size) % len(samples)]
    teacher.logits(torch.from_numpy(points_BND).to(teacher.device))
