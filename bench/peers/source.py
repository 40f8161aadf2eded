"""A recording of given logits, and the same records as arrays for the other ways.

Shape letters: V views, S samples, C classes, P parameters, N points.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.peers.recorded import RECORDING
from bench.peers.records import Floats, Records
from bench.real_logits import DrawnLogits, Logits, load_views
from bench.recorded_logits import Source, begin_recording, draw_parameters, plan_recording
from kdrec.augment import Augmentation
from kdrec.client import Recording, open_recording
from kdrec.store import BlockGrid, plan_encoding

_GROUP = 8
_MADE_UP = (12, 908, 40)


def teacher_logits(data: Path | None, *, views: int, samples: int) -> Logits:
    """Logits with a real teacher's statistics; normal ones where there is no such data."""
    if data is None:
        draw = np.random.Generator(np.random.PCG64(0))
        real_VSC = 4 * draw.standard_normal(_MADE_UP, dtype=np.float32)
    else:
        real_VSC = load_views(data)
    return DrawnLogits(real_VSC).block(0, views=views, samples=samples)


def write_recording(folder: Path, logits_VSC: Logits, *, augmented: bool = True) -> Recording:
    """A `compact` recording in a new folder, as `kdrec record` would cut it into blocks."""
    folder.mkdir()
    source = Source.of(logits_VSC)
    plan = plan_recording(source, plan_encoding("compact"), group=_GROUP)
    if not augmented:
        plan = plan.model_copy(update={"augmentation": Augmentation()})
    writer = begin_recording(folder / RECORDING, plan, source)
    for block in BlockGrid.of(plan):
        writer.commit(block, draw_parameters(plan, block), source.block(block), correct=None)
    writer.seal()
    return open_recording(folder / RECORDING)


def as_records(
    recording: Recording, logits_VSC: Logits, clouds_SN3: Floats | None = None
) -> Records:
    """What others are to keep: the teacher's own logits, and points as the teacher saw them."""
    drawn_V = [recording.read(view)[0] for view in range(recording.num_views)]
    replay: Callable[..., Floats] = recording.replay
    return Records(
        logits_VSC=logits_VSC,
        params_VSP=np.stack([drawn.values_BP for drawn in drawn_V]),
        seen_VSN3=None
        if clouds_SN3 is None
        else np.stack([replay(clouds_SN3, d) for d in drawn_V]),
    )
