"""The networks that kdrec brings along."""

from kdrec.models.pointnet import PointNet, pointnet_s
from kdrec.models.registry import (
    ModelInfo,
    build_model,
    count_parameters,
    find_model,
    list_models,
    register_model,
)

__all__ = [
    "ModelInfo",
    "PointNet",
    "build_model",
    "count_parameters",
    "find_model",
    "list_models",
    "pointnet_s",
    "register_model",
]
