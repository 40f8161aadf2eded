"""Promise 6: an encoding states its bound for every logit, and the proof records show it.

Shape letters: V views, S samples, C classes, M proof records.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.errors import InvalidInputError
from kdrec.samples import identify, make_shapes
from kdrec.store import (
    ENCODINGS,
    BlockGrid,
    Bound,
    Classes,
    ProofRecords,
    RecordingReader,
    RecordingWriter,
    SampleContents,
    VerifyReport,
    beyond_bound,
    verify_bytes,
)
from kdrec.testing import make_logits, make_plan
from tests.memory import MemoryStorage

Logits = npt.NDArray[np.float32]
SAMPLES = make_shapes(6, seed=0, num_points=8)
VIEWS, CLASSES = 3, 5
SHAPE = (VIEWS, len(SAMPLES), CLASSES)
GREATEST = {"half": 65504.0, "compact": 65504.0, "portable": 65504.0, "topk": 65504.0}
ORDINARY = make_logits(make_plan(SAMPLES, views=VIEWS), CLASSES)


def logits(encoding: str) -> st.SearchStrategy[Logits]:
    """Any that the encoding takes: signed zeros, denormal numbers and its greatest among them."""
    most = GREATEST.get(encoding, float(np.finfo(np.float32).max))
    return arrays(np.float32, SHAPE, elements=st.floats(-most, most, width=32))


def write(
    logits_VSC: Logits, encoding: str, *, proof_MC: Logits | None = None
) -> tuple[RecordingReader, MemoryStorage]:
    """A recording of these logits; the proof records say the same unless others are given."""
    plan = make_plan(SAMPLES, views=VIEWS, group=2, block_samples=4, encoding=encoding, augment="")
    identity, storage = identify(SAMPLES), MemoryStorage()
    writer = RecordingWriter(storage, where="r.zarr")
    places = np.array([0, VIEWS - 1]), np.array([1, len(SAMPLES) - 1])
    proof_MC = logits_VSC[places] if proof_MC is None else proof_MC
    writer.begin(
        plan,
        Classes(num_teacher=CLASSES),
        SampleContents(identity.digests, identity.sketches),
        ProofRecords(*places, proof_MC, np.zeros((2, 8))),
    )
    for block in BlockGrid.of(plan):
        part = logits_VSC[block.views.start : block.views.stop][:, np.asarray(block.samples)]
        no_parameters = np.empty((*part.shape[:2], 0), dtype=np.float32)
        writer.commit(block, no_parameters, part, correct=None)
    writer.seal()
    return RecordingReader(storage, where="r.zarr"), storage


def verified(reader: RecordingReader, storage: MemoryStorage) -> VerifyReport:
    *_, report = verify_bytes(reader, storage)
    return report


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_every_logit_is_read_back_within_the_stated_bound(
    encoding: str, data: st.DataObject
) -> None:
    teacher_VSC = data.draw(logits(encoding))
    reader, storage = write(teacher_VSC, encoding)
    decoded_VSC = np.stack([reader.read(view)[1] for view in range(VIEWS)])
    assert not beyond_bound(teacher_VSC, decoded_VSC, reader.manifest.bounds).any()
    report = verified(reader, storage)
    assert (report.damaged, report.proof_checked) == ([], 2)


@settings(deadline=None, max_examples=12)
@given(teacher_VSC=logits("exact"))
def test_exact_is_bit_for_bit(teacher_VSC: Logits) -> None:
    reader, _ = write(teacher_VSC, "exact")
    assert str(reader.manifest.bound) == "none: bit for bit"
    for view in range(VIEWS):
        assert reader.read(view)[1].tobytes() == teacher_VSC[view].tobytes()


def test_the_bound_of_half_is_no_wider_than_it_must_be() -> None:
    reader, _ = write(np.full(SHAPE, 1 + 2.0**-11, dtype=np.float32), "half")
    assert np.abs(reader.read(0)[1] - (1 + 2.0**-11)).max() == 2.0**-11  # a tie: half a step
    assert reader.manifest.bound == Bound(relative=2.0**-11, absolute=2.0**-25)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS.keys() - {"topk"}))  # whose masses are exact
@pytest.mark.parametrize("record", [0, 1])
def test_stored_logits_that_leave_the_bound_are_reported(encoding: str, record: int) -> None:
    reader = write(ORDINARY, encoding)[0]
    proof_MC = reader.read([0, VIEWS - 1], [1, len(SAMPLES) - 1])[1].copy()
    bound = reader.manifest.bound
    proof_MC[record, 3] += np.float32(0.02 + 2 * bound.absolute * (1 + bound.widest))
    report = verified(*write(ORDINARY, encoding, proof_MC=proof_MC))
    (line,) = report.damaged
    view, sample = ((0, 1), (VIEWS - 1, len(SAMPLES) - 1))[record]
    assert f"view {view} of sample {sample} is beyond the bound of its encoding" in line
    assert "|error| <= " in line or "none: bit for bit" in line


@pytest.mark.parametrize("value", [65505.0, -65536.0, 1e30])
def test_a_logit_that_half_cannot_keep_within_its_bound_is_refused(value: float) -> None:
    logits_VSC = ORDINARY.copy()
    logits_VSC[1, 2, 3] = value
    with pytest.raises(InvalidInputError, match="use --encoding exact"):
        write(logits_VSC, "half")
    write(logits_VSC, "exact")
