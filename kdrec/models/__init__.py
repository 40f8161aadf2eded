"""The networks that kdrec brings along."""

from kdrec.models.cost import NetworkCost, measure_cost
from kdrec.models.dgcnn import DGCNN
from kdrec.models.dilation import GraphSettings, NeighbourChoice
from kdrec.models.graph_conv import GraphConvBlock, MaxRelativeConv
from kdrec.models.local_aggregation import LocalAggregation
from kdrec.models.neighbours import nearest
from kdrec.models.onnx_export import export_onnx
from kdrec.models.pointmlp import PointMLPElite
from kdrec.models.pointnet import PointNet, pointnet_s
from kdrec.models.pointnet2 import PointNet2
from kdrec.models.pointvig import GraphEncoder, PointViG, pointvig_xs, pointvig_xxs
from kdrec.models.pointvig_segmentation import PointViGSegmentation
from kdrec.models.registry import (
    ModelInfo,
    build_model,
    count_parameters,
    find_model,
    list_models,
    register_model,
)
from kdrec.models.sampling import farthest_points

__all__ = [
    "DGCNN",
    "GraphConvBlock",
    "GraphEncoder",
    "GraphSettings",
    "LocalAggregation",
    "MaxRelativeConv",
    "ModelInfo",
    "NeighbourChoice",
    "NetworkCost",
    "PointMLPElite",
    "PointNet",
    "PointNet2",
    "PointViG",
    "PointViGSegmentation",
    "build_model",
    "count_parameters",
    "export_onnx",
    "farthest_points",
    "find_model",
    "list_models",
    "measure_cost",
    "nearest",
    "pointnet_s",
    "pointvig_xs",
    "pointvig_xxs",
    "register_model",
]
