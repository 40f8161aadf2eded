"""The largest batch that a device has the memory for, found by trying."""

import numpy as np
import torch

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.recorder.passes import TeacherPass

_FIRST = 8
# Our choice: a GPU is busy well before, and a CPU's caches are full.
MOST_ON_GPU, MOST_ON_CPU = 4096, 256


def largest_batch_size(teacher_pass: TeacherPass) -> int:
    """Double the batch until the device runs out of memory, or a larger one serves nothing.

    What serves nothing is a batch above the number of samples (a batch holds one view), above 4096
    on a GPU or 256 on a CPU, where the system would rather end the process than refuse memory.

    Args:
        teacher_pass: As it will record, with what lies on the device; of any batch size. Its
            records are repeated to fill a batch.

    Returns:
        A power of two.

    Raises:
        InvalidInputError: The teacher fails, or there is not the memory for one sample.
    """
    most = MOST_ON_GPU if teacher_pass.teacher.device.type == "cuda" else MOST_ON_CPU
    size = _FIRST
    while size > 1 and not _fits(teacher_pass, size):
        size //= 2
    if size == 1:
        _ask(teacher_pass, 1)  # whatever is wrong is said by this call
    while size >= _FIRST and 2 * size <= most and size < len(teacher_pass.samples):
        if not _fits(teacher_pass, 2 * size):
            break
        size *= 2
    return size


def _fits(teacher_pass: TeacherPass, size: int) -> bool:
    try:
        _ask(teacher_pass, size)
    except InvalidInputError as error:
        if error.kind is not ErrorKind.OUT_OF_MEMORY:
            raise
        return False
    finally:
        if teacher_pass.teacher.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def _ask(teacher_pass: TeacherPass, size: int) -> None:
    samples_B = np.arange(size) % len(teacher_pass.samples)
    drawn = teacher_pass.augmentation.draw(teacher_pass.seed, views=0, samples_B=samples_B)
    teacher_pass.with_batch_size(size).logits(drawn)
