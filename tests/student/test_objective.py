"""How the parts of a loss are weighed, and which losses cannot be.

Shape letters: B batch, C classes.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.student import DistillationObjective, Judged, LossSettings
from kdrec.student.losses import (
    decoupled_loss,
    distillation_loss,
    logit_loss,
    multi_level_loss,
    reverse_loss,
    self_distillation_loss,
    standardize,
)

NO_LABELS = torch.empty(6, 0, dtype=torch.int64)


def make_view(seed: int = 0) -> Judged:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 3 * torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    return Judged(student, teacher, torch.tensor([0, 1, 2, 3, 0, 1]))


def objective(**values: Any) -> DistillationObjective:
    return DistillationObjective(LossSettings(**values))


def cross_entropy(view: Judged) -> Tensor:
    return -view.student_BC.log_softmax(1)[torch.arange(6), view.labels_B].mean()


def test_the_total_is_the_weighted_sum_of_its_parts() -> None:
    view, own = make_view(), make_view(1).student_BC
    terms = objective(
        label_weight=0.3, teacher_weight=0.6, temperature=2.0, reverse_weight=0.5,
        reverse_temperature=3.0, self_weight=-0.1, self_warmup=0, self_cap=100,
    )(view, self_BC=own)  # fmt: skip
    parts = {
        "label": cross_entropy(view),
        "teacher": distillation_loss(*view[:2], temperature=2.0).mean(),
        "reverse": reverse_loss(*view[:2], temperature=3.0).mean(),
        "self": self_distillation_loss(view.student_BC, own, cap=100).mean(),
    }
    assert terms.parts.keys() == parts.keys()
    for name, part in parts.items():
        torch.testing.assert_close(terms.parts[name], part)
    weights = torch.tensor([0.3, 0.6, 0.5, -0.1]).double()
    torch.testing.assert_close(terms.total, (weights * torch.stack([*parts.values()])).sum())


@pytest.mark.parametrize("loss", ["dkd", "mlkd", "mse"])
@pytest.mark.parametrize("standardized", [False, True])
def test_the_reverse_term_and_standardisation_go_with_every_loss(
    loss: str, standardized: bool
) -> None:
    view = make_view()
    terms = objective(
        loss=loss, standardize=standardized, label_weight=0.0, teacher_weight=2.0, dkd_warmup=0,
        reverse_weight=0.5,
    )(view)  # fmt: skip
    student, teacher = view[:2]
    if standardized:
        student, teacher = standardize(student), standardize(teacher)
    expected = {
        "dkd": lambda: decoupled_loss(student, teacher, view.labels_B).mean(),
        "mlkd": lambda: multi_level_loss(student, teacher),
        "mse": lambda: logit_loss(student, teacher).mean(),
    }[loss]()
    reverse = reverse_loss(student, teacher, temperature=4.0).mean()
    torch.testing.assert_close(terms.total, 2.0 * expected + 0.5 * reverse)


def test_two_views_are_added_for_multi_level_and_only_there() -> None:
    first, second = make_view(0), make_view(1)
    both = objective(loss="mlkd")(first, second).total
    one_by_one = objective(loss="mlkd")(first).total + objective(loss="mlkd")(second).total
    torch.testing.assert_close(both, one_by_one)
    assert objective()(first, second).total == objective()(first).total


def test_labels_are_smoothed() -> None:
    view = make_view()
    smoothed = objective(label_smoothing=0.2, label_weight=1.0, teacher_weight=0.0)(view).total
    uniform = -view.student_BC.log_softmax(1).mean()
    torch.testing.assert_close(smoothed, 0.8 * cross_entropy(view) + 0.2 * uniform)


def test_weights_grow_over_their_warm_up() -> None:
    view, own = make_view(), make_view(1).student_BC
    warming = objective(label_weight=0.0, loss="dkd", dkd_warmup=4, self_weight=0.0)
    full = warming(view, epoch=3).total
    torch.testing.assert_close(warming(view, epoch=0).total, full / 4)
    assert warming(view, epoch=9).total == full
    drawn = objective(label_weight=0.0, teacher_weight=0.0, reverse_weight=1.0, self_weight=0.4,
                      self_warmup=2)  # fmt: skip
    reverse = drawn(view).total
    early, late = (drawn(view, epoch=e, self_BC=own).total - reverse for e in (0, 1))
    torch.testing.assert_close(early, late / 2)


def test_a_learned_temperature_takes_the_place_of_the_fixed_one() -> None:
    view, learned = make_view(), torch.tensor(7.0).double()
    terms = objective(learn_temperature=True)(view, temperature=learned)
    assert terms.parts["temperature"] == 7.0
    fixed = objective(temperature=7.0)(view)
    torch.testing.assert_close(terms.total, fixed.total)


def test_a_part_without_weight_is_left_out() -> None:
    view = make_view()
    assert objective(label_weight=1.0, teacher_weight=0.0)(view).parts.keys() == {"label"}
    unlabelled = view._replace(labels_B=NO_LABELS)
    assert objective(label_weight=0.0)(unlabelled).parts.keys() == {"teacher"}


def test_missing_labels_are_refused_where_they_are_needed() -> None:
    view = make_view()
    for values in ({}, {"loss": "dkd", "label_weight": 0.0}):
        with pytest.raises(InvalidInputError, match="no labels; set label_weight to 0"):
            objective(**values)(view._replace(labels_B=NO_LABELS))
    with pytest.raises(InvalidInputError, match=r"labels must have shape \(6,\)"):
        objective()(view._replace(labels_B=torch.zeros(3, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_weight": -0.1}, "label_weight: .* got -0.1"),
        ({"teacher_weight": math.nan}, "teacher_weight: .*finite"),
        ({"label_weight": 0.0, "teacher_weight": 0.0}, "all 0"),
        ({"temperature": 0.0}, "temperature: .* greater than 0"),
        ({"label_smoothing": 1.0}, "label_smoothing: .* less than 1"),
        ({"loss": "rkd"}, "loss: .*'kd', 'dkd', 'mlkd' or 'mse'"),
        ({"loss": "mse", "learn_temperature": True}, "learn_temperature goes with kd and dkd"),
        ({"self_weight": 0.1, "self_source": "head"}, "'head' needs self_layer"),
        ({"self_cap": 0}, "self_cap: .* greater than 0"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LossSettings(**values)


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        # m KL(t||p) - l KL(q||p) at one temperature of 1 is bounded for l < a + m at best.
        ({"temperature": 1.0, "self_temperature": 1.0, "self_weight": -0.99}, True),
        ({"temperature": 1.0, "self_temperature": 1.0, "self_weight": -1.0}, False),
        ({"temperature": 1.0, "self_temperature": 1.0, "self_weight": 1.0}, True),
        ({"self_weight": -0.9}, True),
        ({"self_weight": -0.93}, False),
        ({"self_temperature": 8.0, "self_weight": -0.5}, False),
        ({"loss": "dkd", "dkd_alpha": 0.0, "self_weight": -0.1}, False),
        ({"loss": "mse", "self_weight": -5.0}, True),
        ({"teacher_weight": 0.0, "label_weight": 0.0, "reverse_weight": 1.0, "self_weight": -0.01},
         False),
    ],
)  # fmt: skip
def test_a_push_at_least_as_hard_as_the_pull_is_refused(
    values: dict[str, Any], allowed: bool
) -> None:
    if allowed:
        LossSettings(**values)
        return
    with pytest.raises(InvalidInputError, match="no lower bound but self_cap"):
        LossSettings(**values)


def test_the_bound_that_is_named_is_the_one_that_holds() -> None:
    # As the logits of all classes but one fall, what remains is linear with the slopes of the rule.
    values = {"label_weight": 0.0, "teacher_weight": 1.0, "temperature": 2.0,
              "self_temperature": 4.0, "self_cap": 1e9, "self_warmup": 0}  # fmt: skip
    uniform = torch.zeros(1, 2).double()
    for weight, falls in ((-0.49, False), (-0.51, True)):
        settings = LossSettings.model_construct(
            **{**LossSettings(**values).model_dump(), "self_weight": weight}
        )
        totals = [
            DistillationObjective(settings)(
                Judged(torch.tensor([[-far, 0.0]]).double(), uniform, torch.tensor([1])),
                self_BC=uniform,
            ).total.item()
            for far in (1e3, 1e4, 1e5)
        ]
        assert (totals[0] > totals[1] > totals[2]) == falls
