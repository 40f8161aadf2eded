"""How often logits name the right class; plain counting, for the ledger and for probes.

Shape letters: G views, S samples, B batch, C classes of the teacher, L classes of the data.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kdrec.augment import Array, like, namespace, to_host
from kdrec.errors import InvalidInputError
from kdrec.store.ledger import Correct

IntArray = npt.NDArray[np.int64]


class CorrectCounts(NamedTuple):
    """How many samples a teacher classifies correctly.

    Attributes:
        among_all: With all of the teacher's classes to choose from.
        among_mapped: With only those that the data have.
    """

    among_all: int
    among_mapped: int


def accuracy(
    logits_BC: Array, labels_B: IntArray, class_map: Sequence[int] | IntArray | None
) -> CorrectCounts:
    """How many samples of a batch a teacher classifies correctly.

    Args:
        logits_BC: The teacher's, of numpy or torch.
        labels_B: The data's class of each sample.
        class_map: For each class of the data the teacher's class; None where they are the same.

    Raises:
        InvalidInputError: A label or an entry of the map is out of range.
    """
    num_classes = logits_BC.shape[1]
    map_L = np.arange(num_classes) if class_map is None else np.asarray(class_map, dtype=np.int64)
    _check_range("class map entries", map_L, num_classes)
    _check_range("labels", labels_B, len(map_L))
    xp = namespace(logits_BC)
    mapped_BL = logits_BC[:, like(map_L, logits_BC)]
    among_all = to_host(xp.argmax(logits_BC, axis=1)) == map_L[labels_B]
    among_mapped = to_host(xp.argmax(mapped_BL, axis=1)) == labels_B
    return CorrectCounts(int(among_all.sum()), int(among_mapped.sum()))


def count_correct(
    logits_GSC: Array, labels_S: IntArray, class_map: tuple[int, ...] | None
) -> Correct:
    """The score of several views of labelled samples."""
    labels_K = np.tile(labels_S, len(logits_GSC))
    logits_KC = logits_GSC.reshape(len(labels_K), -1)
    of_all, of_mapped = accuracy(logits_KC, labels_K, class_map)
    return Correct(records=len(labels_K), of_all=of_all, of_mapped=of_mapped)


def _check_range(what: str, values: IntArray, count: int) -> None:
    outside = values[(values < 0) | (values >= count)]
    if len(outside):
        raise InvalidInputError(f"{what} must be from 0 to {count - 1}, got {int(outside[0])}")
