"""Distillation losses: pure functions of logits, each from its paper."""

from kdrec.student.losses.curriculum import CurriculumTemperature, curriculum_scale
from kdrec.student.losses.decoupled import decoupled_loss
from kdrec.student.losses.divergence import (
    balance_divergence,
    distillation_loss,
    reverse_loss,
    weighted_sum_divergence,
)
from kdrec.student.losses.matching import logit_loss
from kdrec.student.losses.multi_level import multi_level_loss
from kdrec.student.losses.self_distillation import self_distillation_loss
from kdrec.student.losses.standardization import standardize

__all__ = [
    "CurriculumTemperature",
    "balance_divergence",
    "curriculum_scale",
    "decoupled_loss",
    "distillation_loss",
    "logit_loss",
    "multi_level_loss",
    "reverse_loss",
    "self_distillation_loss",
    "standardize",
    "weighted_sum_divergence",
]
