"""Logits of a real teacher, and as many more like them as are wanted.

Shape letters: V views, S samples, C classes, G views of a block.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
VIEWS_FILE = "logits/densepoint_views.npz"
CLEAN_FILE = "logits/pointnet_clean.npy"
_SHARE = 0.25  # of the difference between two views of another sample, added to each record


def load_views(folder: Path) -> Logits:
    """A ModelNet40 teacher's logits over augmented views, (V, S, C).

    Args:
        folder: Of the real data; holds `logits/densepoint_views.npz`.
    """
    with np.load(folder / VIEWS_FILE) as arrays:
        return np.asarray(arrays["logits"], dtype=np.float32)


def load_clean(folder: Path) -> Logits:
    """Another teacher's logits, PointNet's, of the clean clouds: a single view, (1, S, C).

    Args:
        folder: Of the real data; holds `logits/pointnet_clean.npy`.
    """
    logits_SC: Logits = np.load(folder / CLEAN_FILE).astype(np.float32)
    return logits_SC[None]


class DrawnLogits:
    """Logits drawn from real ones: never the same record twice, with the same statistics.

    A sample is one of the real ones, its views are that one's in an order of its own, and a share
    of the difference between two views of another sample is added to each.

    Args:
        real_VSC: What is drawn from.
        seed: Of the draw; the block's numbers go in as well, so that blocks are independent.
    """

    def __init__(self, real_VSC: Logits, *, seed: int = 0) -> None:
        self._real_VSC = real_VSC
        self._seed = seed

    @property
    def classes(self) -> int:
        """C."""
        return int(self._real_VSC.shape[2])

    def block(self, *number: int, views: int, samples: int) -> Logits:
        """The logits of a block, (G, S, C)."""
        draw = np.random.Generator(np.random.PCG64([self._seed, *number]))
        real_views, real_samples, _ = self._real_VSC.shape
        chosen_S = draw.integers(real_samples, size=samples)
        order_GS = np.argsort(draw.random((max(views, real_views), samples)), axis=0)[:views]
        pairs = draw.integers(real_views, size=(2, views, samples))
        others_GS = draw.integers(real_samples, size=(views, samples))
        logits_GSC: Logits = self._real_VSC[order_GS % real_views, chosen_S]
        logits_GSC += _SHARE * self._real_VSC[pairs[0], others_GS]
        logits_GSC -= _SHARE * self._real_VSC[pairs[1], others_GS]
        return logits_GSC
