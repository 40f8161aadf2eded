"""PointViG: its size, its parts, its symmetries, and clouds that are no clouds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdrec.errors import InvalidInputError
from kdrec.models import (
    GraphConvBlock,
    GraphSettings,
    LocalAggregation,
    MaxRelativeConv,
    NeighbourChoice,
    PointViG,
    PointViGSegmentation,
    build_model,
    count_parameters,
    nearest,
)
from kdrec.models.dilation import NEIGHBOUR_CHOICES, NeighbourSelection, SemanticCorrelation
from kdrec.models.pointvig_segmentation import interpolate
from tests.models.networks import clouds, settled, tied_clouds

SMALL: dict[str, Any] = {"widths": (8, 12, 16), "num_blocks": (1, 2, 1), "num_neighbours": 6}


def _classifier(**arguments: Any) -> PointViG:
    torch.manual_seed(0)
    return PointViG(5, head_widths=(16, 12), **{**SMALL, **arguments})


def _segmenter(**arguments: Any) -> PointViGSegmentation:
    torch.manual_seed(0)
    return PointViGSegmentation(5, **{**SMALL, **arguments})


@pytest.mark.parametrize(
    ("name", "published", "num_classes"),
    [
        ("pointvig-s", 1.5e6, 40),
        ("pointvig-xs", 0.5e6, 40),
        ("pointvig-xxs", 0.2e6, 40),
        ("pointvig-seg", 5.3e6, 13),
    ],
)
def test_the_number_of_parameters_is_the_published_one_within_3_percent(
    name: str, published: float, num_classes: int
) -> None:
    count = count_parameters(build_model(name, num_classes=num_classes))
    assert abs(count / published - 1) < 0.03


@pytest.mark.parametrize("choice", NEIGHBOUR_CHOICES)
@pytest.mark.parametrize("make", [_classifier, _segmenter])
def test_every_parameter_gets_a_gradient(make: Any, choice: NeighbourChoice) -> None:
    network = make(neighbours=choice, dropout=0.2).train()
    loss = network(clouds()).logsumexp(dim=-1).square().mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()))  # raises where one is unused
    assert all(gradient.isfinite().all() for gradient in gradients)
    unmoved = [
        name
        for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True)
        if not gradient.abs().sum() > 0
    ]
    assert unmoved == []


@pytest.mark.parametrize("choice", NEIGHBOUR_CHOICES)
def test_the_order_of_the_points_is_without_effect_on_the_class(choice: NeighbourChoice) -> None:
    points_BND = tied_clouds(90)
    network = settled(_classifier(neighbours=choice), points_BND)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            network(points_BND), network(points_BND[:, order]), rtol=1e-4, atol=1e-5
        )


def test_the_order_of_the_points_is_the_order_of_their_labels() -> None:
    points_BND = tied_clouds(90)
    network = settled(_segmenter(), points_BND)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            network(points_BND)[:, order], network(points_BND[:, order]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("make", [_classifier, _segmenter])
def test_a_cloud_is_evaluated_without_its_companions(make: Any) -> None:
    points_BND = clouds(5, 70)
    network = settled(make(neighbours="adaptive"), points_BND)
    with torch.no_grad():
        together, alone = network(points_BND), network(points_BND[3:4])
    torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("choice", NEIGHBOUR_CHOICES)
@pytest.mark.parametrize("make", [_classifier, _segmenter])
@pytest.mark.parametrize("num_points", [1, 2, 3, 5])
def test_a_cloud_with_fewer_points_than_neighbours_has_logits(
    make: Any, choice: NeighbourChoice, num_points: int
) -> None:
    network = settled(make(neighbours=choice), clouds())
    with torch.no_grad():
        logits = network(clouds(2, num_points))
    assert logits.isfinite().all()


@pytest.mark.parametrize("make", [_classifier, _segmenter])
def test_a_cloud_of_equal_points_has_logits_and_trains(make: Any) -> None:
    network = make(neighbours="adaptive").train()
    points_BND = torch.cat([clouds(2, 40), torch.zeros(1, 40, 3), torch.ones(1, 40, 3)])
    logits = network(points_BND)
    assert logits.isfinite().all()
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        same_NC = settled(network, clouds())(torch.full((1, 40, 3), 0.5))[0]
    torch.testing.assert_close(
        same_NC, same_NC[:1].expand_as(same_NC) if same_NC.ndim > 1 else same_NC
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("choice", NEIGHBOUR_CHOICES)
def test_a_cloud_with_nan_has_logits_that_are_nan_and_harms_no_other(
    choice: NeighbourChoice, value: float
) -> None:
    points_BND = clouds(3, 50)
    network = settled(_classifier(neighbours=choice), points_BND)
    broken_BND = points_BND.clone()
    broken_BND[1, 20, 2] = value
    with torch.no_grad():
        whole_BC, logits_BC = network(points_BND), network(broken_BND)
    assert logits_BC[1].isnan().all()
    torch.testing.assert_close(logits_BC[[0, 2]], whole_BC[[0, 2]], rtol=1e-4, atol=1e-5)


def test_half_precision_gives_nearby_logits() -> None:
    points_BND = clouds(4, 100)
    for network in (_classifier(neighbours="adaptive"), _segmenter()):
        settled(network, points_BND)
        with torch.no_grad():
            exact = network(points_BND)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = network(points_BND)
        assert low.dtype == torch.bfloat16
        assert (low.float() - exact).abs().mean() < 0.1 * exact.abs().mean() + 0.05


def test_half_precision_trains() -> None:
    network = _classifier(neighbours="adaptive").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(clouds()).float().logsumexp(dim=-1).mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_convolution_takes_the_greatest_difference_of_each_feature() -> None:
    features_BNF = torch.tensor([[[0.0, 0.0], [1.0, -4.0], [-2.0, 3.0]]])
    index_BNK = torch.tensor([[[0, 1], [1, 2], [2, 0]]])
    seen: list[Tensor] = []
    conv = MaxRelativeConv(2, 4)
    conv.layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    conv(features_BNF, index_BNK)
    conv(features_BNF, index_BNK, weight_BNK=torch.ones(1, 3, 2))
    expected = torch.tensor([[[0.0, 0, 1, 0], [1, -4, 0, 7], [-2, 3, 2, 0]]])
    assert torch.equal(seen[0], expected)
    assert torch.equal(seen[1], expected)


def test_how_neighbours_lie_counts_and_not_how_far() -> None:
    aggregation = LocalAggregation(2, 4).eval()
    features_BNF, xyz_BN3 = torch.randn(1, 9, 2), torch.randn(1, 9, 3)
    index_BNK = nearest(xyz_BN3, xyz_BN3, 5).index_BMK
    found, larger, turned = (
        aggregation(features_BNF, other_BN3, index_BNK, other_BN3)
        for other_BN3 in (xyz_BN3, 8 * xyz_BN3, xyz_BN3.flip(2))
    )
    torch.testing.assert_close(found, larger)
    assert not torch.allclose(found, turned)
    same_BN3 = torch.zeros_like(xyz_BN3)
    assert aggregation(features_BNF, same_BN3, index_BNK, same_BN3).isfinite().all()


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [("nearest", [0, 1, 2, 3]), ("dilated", [0, 3, 6, 9]), ("all", list(range(12)))],
)
def test_a_control_chooses_by_rank(choice: NeighbourChoice, chosen: list[int]) -> None:
    settings = GraphSettings(num_neighbours=4, choice=choice, dilation=3)
    selection = NeighbourSelection(8, settings)
    candidates = torch.arange(100, 100 + settings.num_candidates).expand(2, 5, -1)
    index, weight = selection(torch.zeros(2, 5, 8), candidates)
    assert weight is None
    assert index.tolist() == [[[100 + rank for rank in chosen]] * 5] * 2


def test_a_random_choice_follows_from_seed_and_block() -> None:
    def ranks(seed: int, number: int) -> tuple[int, ...] | None:
        settings = GraphSettings(num_neighbours=4, choice="random", dilation=5, seed=seed)
        return NeighbourSelection(8, settings, number=number).ranks

    assert ranks(0, 0) == ranks(0, 0)
    assert len({ranks(0, 0), ranks(0, 1), ranks(1, 0)}) == 3
    assert all(len(set(found or ())) == 4 and max(found or ()) < 20 for found in [ranks(2, 3)])


def test_the_adaptive_choice_keeps_the_most_similar_candidates() -> None:
    settings = GraphSettings(num_neighbours=2, choice="adaptive", dilation=2, weighted=False)
    features_BNF = torch.tensor([[[1.0, 0], [0.9, 0.1], [-1, 0], [5, 0.1]]])
    candidates = torch.arange(4).expand(1, 4, 4)
    index, weight = SemanticCorrelation(2, settings)(features_BNF, candidates)
    assert weight is None
    assert set(index[0, 0].tolist()) == {0, 3}
    assert set(index[0, 2].tolist()) == {2, 1}


def test_adaptive_weights_have_mean_1_and_grow_with_similarity() -> None:
    settings = GraphSettings(num_neighbours=3, choice="adaptive", dilation=2)
    torch.manual_seed(0)
    features_BNF = torch.randn(2, 6, 8)
    candidates = torch.arange(6).expand(2, 6, 6)
    index, weight = SemanticCorrelation(8, settings)(features_BNF, candidates)
    assert weight is not None
    torch.testing.assert_close(weight.mean(dim=-1), torch.ones(2, 6))
    assert (weight.diff(dim=-1) <= 0).all()
    assert torch.equal(index[..., 0], torch.arange(6).expand(2, 6))  # nothing is more like it


@pytest.mark.parametrize("settings", [GraphSettings(use_fc=False), GraphSettings(use_ffn=False)])
def test_parts_of_a_block_can_be_left_out(settings: GraphSettings) -> None:
    whole = GraphConvBlock(8, GraphSettings())
    part = GraphConvBlock(8, settings)
    assert count_parameters(part) < count_parameters(whole)
    candidates = torch.arange(16).expand(1, 20, 16)
    assert part(torch.randn(1, 20, 8), candidates).shape == (1, 20, 8)


def test_interpolation_is_exact_on_the_coarse_points_and_between_them_elsewhere() -> None:
    coarse_BM3 = clouds(2, 9)
    features_BMF = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        interpolate(coarse_BM3, coarse_BM3, features_BMF), features_BMF, rtol=1e-4, atol=1e-4
    )
    between_BNF = interpolate(clouds(2, 30, seed=1), coarse_BM3, features_BMF)
    low, high = features_BMF.amin(dim=1, keepdim=True), features_BMF.amax(dim=1, keepdim=True)
    assert ((between_BNF >= low - 1e-5) & (between_BNF <= high + 1e-5)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_channels": 2}, "num_channels must be at least 3, got 2"),
        ({"neighbours": "far"}, "neighbours are chosen nearest, dilated, .* got 'far'"),
        ({"num_neighbours": 0}, "num_neighbours must be a whole number from 1 on, got 0"),
        ({"dilation": 2.5}, "dilation must be a whole number from 1 on, got 2.5"),
        ({"use_fc": "no"}, "use_fc must be true or false, got 'no'"),
        ({"widths": (8, 16)}, r"one number from 1 on for each stage, got \(8, 16\) and"),
        ({"widths": (), "num_blocks": ()}, "one number from 1 on for each stage"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        _classifier(**arguments)


def test_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    network: nn.Module = _classifier(neighbours="random").eval()
    before = torch.random.get_rng_state()
    network(clouds())
    assert torch.equal(before, torch.random.get_rng_state())
