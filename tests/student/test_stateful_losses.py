"""Losses that remember or learn something: what they keep, and that going on changes nothing.

Shape letters: S samples, B batch, C classes.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdrec.errors import ConflictError, InvalidInputError
from kdrec.models import build_model
from kdrec.student import RecordedViews, TrainSettings, read_checkpoint, train
from kdrec.student.self_logits import AuxiliaryHead, LogitMemory
from tests.student.recordings import NUM_CLASSES, NUM_SAMPLES, make_samples, record
from tests.student.test_training import (
    DROPOUT,
    StoppedError,
    assert_same_tensors,
    make_settings,
    stop_after,
    tensors,
    without_times,
)

STATEFUL: dict[str, dict[str, Any]] = {
    "previous": {"self_weight": -0.2},
    "average": {"self_weight": -0.2, "self_source": "average"},
    "view": {"self_weight": 0.2, "self_source": "view"},
    "head": {"self_weight": -0.2, "self_source": "head", "self_layer": "feature_model"},
    "curriculum": {"learn_temperature": True},
    "multi-level": {"loss": "mlkd"},
    "balance, standardised": {"reverse_weight": 0.5, "standardize": True},
    "dkd": {"loss": "dkd", "clip_norm": 1.0, "optimizer": "sgd", "warmup_epochs": 1},
    "average of weights": {"ema_decay": 0.9},
    "half precision": {"precision": "bf16"},
    "scaled half precision": {"precision": "fp16"},
    "noise": {"jitter": 0.02, "point_dropout": 0.3},
}


@pytest.mark.parametrize("name", STATEFUL)
def test_stopped_and_continued_gives_the_weights_of_one_run(tmp_path: Path, name: str) -> None:
    recording, test = record(), make_samples(20, seed=1)
    settings = make_settings(epochs=3, student_arguments=DROPOUT, **STATEFUL[name])
    whole = train(recording, settings, tmp_path / "whole", test=test)
    for epoch in (0, 1):
        with pytest.raises(StoppedError):
            train(recording, settings, tmp_path / "parts", test=test, on_progress=stop_after(epoch))
        torch.rand(3)  # whatever happens between the two
    parts = train(recording, settings, tmp_path / "parts", test=test)
    for file in ("best.safetensors", "last.safetensors"):
        assert_same_tensors(tmp_path / "whole" / file, tmp_path / "parts" / file)
    assert [without_times(r) for r in whole.epochs] == [without_times(r) for r in parts.epochs]
    log = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "parts")]
    assert len(log[0]) == len(log[1]) == 4


@pytest.mark.parametrize("name", [name for name in STATEFUL if name != "half precision"])
def test_what_a_setting_adds_changes_the_weights(tmp_path: Path, name: str) -> None:
    recording = record()
    train(recording, make_settings(epochs=2), tmp_path / "plain")
    train(recording, make_settings(epochs=2, **STATEFUL[name]), tmp_path / "changed")
    plain, changed = (tensors(tmp_path / run / "best.safetensors") for run in ("plain", "changed"))
    assert plain.keys() == changed.keys()
    assert not torch.equal(plain["linear3.weight"], changed["linear3.weight"])


@pytest.mark.parametrize("source", ["previous", "average", "view", "head"])
def test_at_weight_0_the_student_is_the_plain_one(tmp_path: Path, source: str) -> None:
    recording = record()
    train(recording, make_settings(epochs=2), tmp_path / "plain")
    settings = make_settings(
        epochs=2, self_weight=0.0, self_source=source, self_layer="feature_model"
    )
    train(recording, settings, tmp_path / "zero")
    assert_same_tensors(*(tmp_path / run / "best.safetensors" for run in ("plain", "zero")))


def test_the_memory_holds_the_logits_of_the_last_epoch_in_one_row_a_sample(tmp_path: Path) -> None:
    settings = make_settings(epochs=2, self_weight=-0.2)
    result = train(record(), settings, tmp_path / "out")
    kept = tensors(tmp_path / "out" / "last.safetensors")["loss.memory._extra_state"]
    assert kept.shape == (NUM_SAMPLES, NUM_CLASSES)
    assert torch.isfinite(kept).all()
    assert result.epochs[0].self_loss == 0
    assert result.epochs[1].self_loss is not None
    assert result.epochs[1].self_loss > 0


def test_the_memory_recalls_the_last_or_the_running_average() -> None:
    index_B = torch.tensor([3, 1])
    first, second = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    for momentum, expected in ((0.0, second), (0.75, 0.75 * first)):
        memory = LogitMemory(5, 2, momentum=momentum, device=torch.device("cpu"))
        assert memory.recall(index_B).isnan().all()
        memory.remember(index_B, first)
        assert torch.equal(memory.recall(index_B), first)
        memory.remember(index_B, second)
        torch.testing.assert_close(memory.recall(index_B), expected)
        assert memory.recall(torch.tensor([0, 2, 4])).isnan().all()


def test_a_memory_that_would_be_too_large_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"3\.7 GiB, at most 1 GiB .* 'view' or 'head'"):
        LogitMemory(10**6, 1000, momentum=0.0, device=torch.device("cpu"))


def test_the_head_trains_beside_the_student_and_leaves_no_trace_in_its_weights(
    tmp_path: Path,
) -> None:
    train(record(), make_settings(epochs=2, **STATEFUL["head"]), tmp_path / "out")
    kept = tensors(tmp_path / "out" / "last.safetensors")
    assert kept["loss.head.linear.weight"].shape == (NUM_CLASSES, 192)
    weights = tensors(tmp_path / "out" / "best.safetensors")
    build_model("pointnet-s", num_classes=NUM_CLASSES).load_state_dict(weights)
    info = read_checkpoint(tmp_path / "out" / "last.safetensors").info
    assert [epoch.head_loss is not None for epoch in info.epochs] == [True, True]


def test_a_head_on_a_layer_that_cannot_be_is_refused(tmp_path: Path) -> None:
    settings = make_settings(self_weight=-0.1, self_source="head", self_layer="features")
    with pytest.raises(InvalidInputError, match="no layer 'features'; it has: feature_model, "):
        train(record(), settings, tmp_path / "out")
    model = nn.Sequential(nn.Linear(3, 32), nn.Flatten(1))
    with pytest.raises(InvalidInputError, match=r"one vector a cloud.*'0' gives \(1, 4, 32\)"):
        AuxiliaryHead(model, "0", example_BND=torch.zeros(1, 4, 3), num_classes=5)


@pytest.mark.parametrize("values", [{"loss": "mlkd"}, STATEFUL["view"]])
def test_two_views_need_a_recording_with_two(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="but the recording has 1; record at least 2"):
        train(record(views=1), make_settings(**values), tmp_path / "one")
    views = RecordedViews(record())

    class OneAtATime:
        description = views.description
        set_epoch = views.set_epoch
        batch = views.batch

        def __len__(self) -> int:
            return len(views)

    with pytest.raises(InvalidInputError, match="but the source gives one"):
        train(OneAtATime(), make_settings(**values), tmp_path / "live")


def test_the_second_view_is_the_next_one() -> None:
    views = RecordedViews(record())
    for epoch in range(4):
        views.set_epoch(epoch)
        second = views.second_batch([4, 2])
        views.set_epoch(epoch + 1)
        for ours, theirs in zip(second, views.batch([4, 2]), strict=True):
            assert torch.equal(ours, theirs)


def test_another_loss_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    recording = record()
    train(recording, make_settings(epochs=2), tmp_path / "out")
    with pytest.raises(ConflictError, match=r"self_weight: 0\.0 before, -0\.2 now"):
        train(recording, make_settings(epochs=2, self_weight=-0.2), tmp_path / "out")


def test_the_learned_temperature_is_reported_and_kept(tmp_path: Path) -> None:
    settings = make_settings(epochs=2, learn_temperature=True, learning_rate=0.05)
    result = train(record(), settings, tmp_path / "out")
    temperatures = [epoch.temperature or 0.0 for epoch in result.epochs]
    assert 15 < temperatures[0] < 16.7
    assert temperatures[0] != temperatures[1]
    assert tensors(tmp_path / "out" / "last.safetensors")["loss.temperature.theta"].item() != 1.0


def test_patience_stops_the_training_and_a_stopped_one_stays_stopped(tmp_path: Path) -> None:
    settings = make_settings(epochs=30, patience=2, learning_rate=1e-9)
    test = make_samples(20, seed=1)
    result = train(record(), settings, tmp_path / "out", test=test)
    assert result.finished
    assert len(result.epochs) == result.best.epoch + 3 < 30
    assert train(record(), settings, tmp_path / "out", test=test) == result
    with pytest.raises(InvalidInputError, match=r"patience waits .* no test data"):
        train(record(), TrainSettings(patience=2), tmp_path / "x")


def test_the_average_is_what_is_tested_and_kept(tmp_path: Path) -> None:
    test = make_samples(20, seed=1)
    settings = make_settings(epochs=2, ema_decay=0.99)
    train(record(), settings, tmp_path / "out", test=test)
    last = read_checkpoint(tmp_path / "out" / "last.safetensors")
    assert not torch.equal(last.weights["linear3.weight"], last.tensors["model.linear3.weight"])
    best = read_checkpoint(tmp_path / "out" / "best.safetensors")
    if best.info.epochs == last.info.epochs:
        assert torch.equal(best.weights["linear3.weight"], last.weights["linear3.weight"])
