"""An estimate beside the recording it is of, and its arithmetic with a clock of our own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec.augment import parse_augmentation
from kdrec.errors import InvalidInputError
from kdrec.recorder import Estimate, RecordRequest, estimate, load_teacher, record
from tests.programs import contents
from tests.recorder.toy_teachers import SOURCE, Silent, toy, toy_samples, write_toys


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that is so much later each time it is asked."""
    now = 0.0

    def ask() -> float:
        nonlocal now
        now += seconds
        return now

    return ask


@pytest.fixture
def request_toy(tmp_path: Path) -> RecordRequest:
    return RecordRequest(
        out=tmp_path / "r.zarr",
        teacher=toy(write_toys(tmp_path)),
        augmentation=parse_augmentation("scale=0.9:1.1,translate=0.1,subset=24"),
        views=32,
        group=8,
        batch_size=4,
        threads=1,
    )


def ask(request: RecordRequest, *, records: int = 96) -> Estimate:
    teacher = load_teacher(request.teacher)
    return estimate(request, teacher, toy_samples(), clock=ticking(1.0), trial_records=records)


@pytest.mark.parametrize("encoding", ["half", "topk"])
def test_the_bytes_are_those_of_the_recording(request_toy: RecordRequest, encoding: str) -> None:
    request = replace(request_toy, encoding=encoding)
    found = ask(request)
    assert not Path(request.out).exists()
    record(request, load_teacher(request.teacher), toy_samples(), Silent())
    recorded = contents(Path(request.out))
    assert found.num_bytes == pytest.approx(sum(map(len, recorded.values())), rel=0.2)
    for arrays, expected in (
        (("logits/c/", "classes/c/", "mass/c/"), found.trial.logit_bytes),
        (("params/c/",), found.trial.parameter_bytes),
    ):
        stored = sum(len(data) for key, data in recorded.items() if key.startswith(arrays))
        # Chunks of a dozen clouds, where headers weigh: the trial has half as many as the blocks.
        assert expected == pytest.approx(stored / found.records, rel=0.3)


def test_hours_and_break_even_follow_from_the_trial(request_toy: RecordRequest) -> None:
    found = ask(request_toy)
    trial = found.trial
    assert trial.records == 8 * 12
    # The clock ticks once for the teacher, for the writing and for the reading.
    assert trial.teacher_seconds == trial.write_seconds == trial.read_seconds == 1 / 96
    assert found.seconds == pytest.approx((2 * 768 + found.extra_records) / 96)
    assert found.break_even_epochs is None
    quick = replace(found, trial=replace(trial, read_seconds=0.25 / 96, write_seconds=0.0))
    # Each epoch saves three quarters of a teacher's pass over all samples.
    assert quick.break_even_epochs == pytest.approx((768 + found.extra_records) / (24 * 0.75))


def test_jitter_costs_what_the_paper_argues(request_toy: RecordRequest) -> None:
    found = ask(request_toy)
    assert found.raw_bytes == 4 * (12 + 6)
    assert found.raw_jitter_bytes == 4 * 3 * 24  # of the points that `subset` leaves
    assert 0.2 * found.raw_jitter_bytes < found.trial.jitter_bytes < 1.2 * found.raw_jitter_bytes


def test_more_records_than_there_are_and_a_single_one_are_tried(request_toy: RecordRequest) -> None:
    assert ask(request_toy, records=10**9).trial.records == 8 * 24
    single = ask(replace(request_toy, views=1, augmentation=parse_augmentation("none")), records=1)
    assert single.trial.records == 1
    assert (single.trial.parameter_bytes, single.num_parameters) == (0, 0)


def test_what_cannot_be_recorded_has_no_estimate(
    request_toy: RecordRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InvalidInputError, match="no encoding 'zip'"):
        ask(replace(request_toy, encoding="zip"))
    noisy = tmp_path_factory.mktemp("elsewhere") / "noisy.py"
    source = SOURCE.replace("self.sharpen * self.head(features)", "torch.rand(len(points), 12)")
    noisy.write_text(source)
    with pytest.raises(InvalidInputError, match="random in eval mode"):
        ask(replace(request_toy, teacher=toy(noisy)))
    with pytest.raises(InvalidInputError, match="view"):
        ask(replace(request_toy, views=0))
