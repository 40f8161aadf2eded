"""PointNet, against the checkpoint of another program and against plain convolutions."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.errors import InvalidInputError
from kdrec.models import PointNet, build_model, count_parameters, pointnet_s
from tests.models.networks import settled


def _plain_logits(network: PointNet, points_BND: Tensor) -> Tensor:
    features_BFN = points_BND.transpose(1, 2)
    for layer in range(1, 6):
        convolution = network.feature_model.get_submodule(f"conv{layer}")
        norm = network.feature_model.get_submodule(f"bn{layer}")
        assert isinstance(convolution, nn.Conv1d)
        features_BFN = functional.conv1d(features_BFN, convolution.weight, convolution.bias)
        features_BFN = functional.relu(norm(features_BFN))
    hidden_BF = features_BFN.max(dim=2).values
    hidden_BF = functional.relu(network.bn1(network.linear1(hidden_BF)))
    hidden_BF = functional.relu(network.bn2(network.linear2(hidden_BF)))
    logits_BC: Tensor = network.linear3(hidden_BF)
    return logits_BC


def test_pointnet_has_the_size_of_the_published_one() -> None:
    assert count_parameters(build_model("pointnet", num_classes=40)) == 819_624


def test_the_small_pointnet_is_a_student() -> None:
    assert 50_000 < count_parameters(build_model("pointnet-s", num_classes=40)) < 70_000


def test_tensors_have_the_names_and_shapes_of_the_checkpoint(shared_data: Path) -> None:
    shapes = json.loads((shared_data / "teachers" / "shapes.json").read_text())
    expected = {n: tuple(s) for n, (s, _) in shapes["pointnet_learning3d_modelnet40"].items()}
    state = build_model("pointnet", num_classes=40).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_logits_are_those_of_plain_convolutions(mode: str) -> None:
    torch.manual_seed(0)
    points_BND = torch.randn(5, 300, 3)
    network = settled(
        PointNet(6, point_widths=(8, 8, 16, 16, 900), head_widths=(12, 9)), points_BND
    )
    assert isinstance(network, PointNet)
    network.train(mode == "training")
    with torch.no_grad():
        ours, plain = network(points_BND), _plain_logits(network, points_BND)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_a_cloud_is_evaluated_without_its_companions() -> None:
    torch.manual_seed(0)
    points_BND = torch.randn(9, 256, 3)
    network = settled(pointnet_s(4), points_BND)
    with torch.no_grad():
        together, alone = network(points_BND), network(points_BND[4:5])
    torch.testing.assert_close(together[4:5], alone, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_points_is_without_effect() -> None:
    torch.manual_seed(0)
    points_BND = torch.randn(3, 200, 3)
    network = settled(pointnet_s(4), points_BND)
    with torch.no_grad():
        torch.testing.assert_close(network(points_BND), network(points_BND.flip(1)))


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = build_model("pointnet-s", num_classes=5, num_channels=6, dropout=0.3).train()
    loss = functional.cross_entropy(network(torch.randn(4, 64, 6)), torch.arange(4))
    gradients = torch.autograd.grad(loss, list(network.parameters()))  # raises where one is unused
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("shape", [(2, 3, 128), (128, 3), (2, 128, 6), (0, 128, 3), (2, 0, 3)])
def test_points_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"must have shape \(batch, points, 3\)"):
        build_model("pointnet-s", num_classes=5).eval()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"num_classes": 5, "num_channels": 0}, "num_channels must be at least 1, got 0"),
        ({"num_classes": 5, "dropout": 1.0}, "dropout must be from 0 to below 1, got 1"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_model("pointnet", **arguments)
