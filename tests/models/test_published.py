"""PointNet++, DGCNN and PointMLP-elite: as published, and from the usual public checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdrec.errors import InvalidInputError
from kdrec.models import build_model, count_parameters, dgcnn, farthest_points, find_model
from kdrec.models.dgcnn import EdgeConvolution, nearest_features
from kdrec.recorder import TeacherOptions, load_teacher
from tests.models.networks import clouds, settled, tied_clouds

Shapes = dict[str, tuple[int, ...]]


def _norm(name: str, width: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{field}": (width,) for field in vectors} | {f"{name}.num_batches_tracked": ()}


def _pointnet2_layout() -> Shapes:
    """As yanx27/Pointnet_Pointnet2_pytorch names the tensors of `pointnet2_cls_ssg`."""
    found: Shapes = {}
    widths = {"sa1": (3, 64, 64, 128), "sa2": (131, 128, 128, 256), "sa3": (259, 256, 512, 1024)}
    for part, (first, *rest) in widths.items():
        before = first
        for layer, after in enumerate(rest):
            found[f"{part}.mlp_convs.{layer}.weight"] = (after, before, 1, 1)
            found[f"{part}.mlp_convs.{layer}.bias"] = (after,)
            found |= _norm(f"{part}.mlp_bns.{layer}", after)
            before = after
    for number, (before, after) in enumerate(((1024, 512), (512, 256), (256, 40)), start=1):
        found[f"fc{number}.weight"], found[f"fc{number}.bias"] = (after, before), (after,)
    return found | _norm("bn1", 512) | _norm("bn2", 256)


def _dgcnn_layout() -> Shapes:
    """As WangYueFt/dgcnn and antao97/dgcnn.pytorch name them: some norms have two names."""
    found: Shapes = {}
    convolutions = {1: (6, 64), 2: (128, 64), 3: (128, 128), 4: (256, 256), 5: (512, 1024)}
    for number, (before, after) in convolutions.items():
        kernel = (1,) if number == 5 else (1, 1)
        found |= _norm(f"bn{number}", after)
        found[f"conv{number}.0.weight"] = (after, before, *kernel)
        found |= _norm(f"conv{number}.1", after)
    found |= {"linear1.weight": (512, 2048), **_norm("bn6", 512)}
    found |= {"linear2.weight": (256, 512), "linear2.bias": (256,), **_norm("bn7", 256)}
    return found | {"linear3.weight": (40, 256), "linear3.bias": (40,)}


def _pointmlp_layout() -> Shapes:
    """As ma-xu/pointMLP-pytorch names the tensors of `pointMLPElite`."""
    found: Shapes = {"embedding.net.0.weight": (32, 3, 1), **_norm("embedding.net.1", 32)}
    before = 32
    for stage, (after, blocks) in enumerate(((64, 1), (128, 1), (256, 2), (256, 1))):
        for field in ("affine_alpha", "affine_beta"):
            found[f"local_grouper_list.{stage}.{field}"] = (1, 1, 1, before)
        pre, pos = f"pre_blocks_list.{stage}", f"pos_blocks_list.{stage}"
        found[f"{pre}.transfer.net.0.weight"] = (after, 2 * before, 1)
        found |= _norm(f"{pre}.transfer.net.1", after)
        for block in (f"{part}.operation.{b}" for part in (pre, pos) for b in range(blocks)):
            found[f"{block}.net1.0.weight"] = (after // 4, after, 1)
            found[f"{block}.net2.0.weight"] = (after, after // 4, 1)
            found |= _norm(f"{block}.net1.1", after // 4) | _norm(f"{block}.net2.1", after)
        before = after
    for place, (first, second) in {0: (256, 512), 4: (512, 256), 8: (256, 40)}.items():
        found[f"classifier.{place}.weight"] = (second, first)
        found[f"classifier.{place}.bias"] = (second,)
    return found | _norm("classifier.1", 512) | _norm("classifier.5", 256)


LAYOUTS = {
    "pointnet2-ssg": _pointnet2_layout(),
    "dgcnn": _dgcnn_layout(),
    "pointmlp-elite": _pointmlp_layout(),
}


def _tensors(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(100)
        else:
            tensors[name] = torch.rand(shape, generator=generator) * 0.1 + 0.05
    for number in range(1, 6):  # one module under two names has the same tensors twice
        for name in [name for name in tensors if name.startswith(f"conv{number}.1.")]:
            tensors[f"bn{number}." + name.rpartition(".")[2]] = tensors[name]
    return tensors


def _as_published(name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the file of a public checkpoint holds."""
    parallel = {f"module.{key}": tensor for key, tensor in tensors.items()}
    if name == "pointnet2-ssg":
        score = {"epoch": 3, "instance_acc": 0.9, "class_acc": 0.9, "optimizer_state_dict": {}}
        return {**score, "model_state_dict": tensors}
    return {"net": parallel, "epoch": 3} if name == "pointmlp-elite" else parallel


@pytest.mark.parametrize(
    ("name", "count"),
    [("pointnet2-ssg", 1_475_688), ("dgcnn", 1_809_576), ("pointmlp-elite", 716_232)],
)
def test_the_number_of_parameters_is_that_of_the_published_code(name: str, count: int) -> None:
    assert count_parameters(build_model(name, num_classes=40)) == count


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_checkpoint_loads_by_name(name: str, tmp_path: Path) -> None:
    tensors = _tensors(LAYOUTS[name])
    torch.save(_as_published(name, tensors), tmp_path / "model.pth")
    teacher = load_teacher(TeacherOptions(factory=name, weights=tmp_path / "model.pth"))
    state = teacher.module.state_dict()
    assert state[find_model(name).head].equal(tensors[find_model(name).head])
    assert all(tensor.equal(tensors[key]) for key, tensor in state.items())
    left_out = set(tensors) - set(state)
    assert all(key.startswith(("bn1", "bn2", "bn3", "bn4", "bn5")) for key in left_out)
    assert teacher.logits(clouds(2, 64)).shape == (2, 40)


def test_a_batch_norm_of_one_name_only_is_not_left_out(tmp_path: Path) -> None:
    tensors = {k: t for k, t in _tensors(LAYOUTS["dgcnn"]).items() if not k.startswith("conv1.1")}
    torch.save(tensors, tmp_path / "model.pth")
    with pytest.raises(InvalidInputError, match=r"4 missing \(conv1.1.* 5 unexpected \(bn1"):
        load_teacher(TeacherOptions(factory="dgcnn", weights=tmp_path / "model.pth"))
    with pytest.raises(InvalidInputError, match=r"no 'fc3.weight' .* but bn1.* another network's"):
        load_teacher(TeacherOptions(factory="pointnet2-ssg", weights=tmp_path / "model.pth"))


def test_a_checkpoint_for_normals_loads_with_six_channels(tmp_path: Path) -> None:
    shapes = LAYOUTS["pointnet2-ssg"] | {"sa1.mlp_convs.0.weight": (64, 6, 1, 1)}
    torch.save(_tensors(shapes), tmp_path / "model.pth")
    options = TeacherOptions(
        factory="pointnet2-ssg", weights=tmp_path / "model.pth", arguments={"num_channels": 6}
    )
    assert load_teacher(options).logits(clouds(2, 64, channels=6)).shape == (2, 40)


def _channels_first(rows: Tensor) -> Tensor:
    return rows.movedim(-1, 1)


def _conv_norm(part: nn.Module, norm: nn.Module, maps: Tensor) -> Tensor:
    """A plain convolution and batch norm over (B, F, ...), from the same tensors."""
    weight = part.get_parameter("weight").flatten(1)
    weight = weight.view(*weight.shape, *[1] * (maps.ndim - 2))
    bias = dict(part.named_parameters()).get("bias")
    convolve = functional.conv1d if maps.ndim == 3 else functional.conv2d
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    return functional.batch_norm(
        convolve(maps, weight, bias), mean, variance,
        norm.get_parameter("weight"), norm.get_parameter("bias"), training=norm.training,
    )  # fmt: skip


def _taken(values_BNF: Tensor, index: Tensor) -> Tensor:
    return torch.stack(
        [values_NF[index_M] for values_NF, index_M in zip(values_BNF, index, strict=True)]
    )


def _plain_edges(part: nn.Module, features: Tensor, index: Tensor) -> Tensor:
    near, own = _taken(features, index), features.unsqueeze(2).expand(-1, -1, index.shape[-1], -1)
    edges = _channels_first(torch.cat([near - own, own], dim=-1))
    maps = _conv_norm(part.get_submodule("0"), part.get_submodule("1"), edges)
    return functional.leaky_relu(maps, 0.2).max(dim=-1).values.transpose(1, 2)


def _plain_dgcnn(network: nn.Module, points_BND: Tensor) -> Tensor:
    features, levels = points_BND, []
    for number in range(1, 5):
        index = torch.cdist(features, features).topk(20, largest=False).indices
        features = _plain_edges(network.get_submodule(f"conv{number}"), features, index)
        levels.append(features)
    part = network.get_submodule("conv5")
    maps = torch.cat(levels, dim=-1).transpose(1, 2)
    maps = _conv_norm(part.get_submodule("0"), part.get_submodule("1"), maps)
    maps = functional.leaky_relu(maps, 0.2)
    hidden = torch.cat([maps.max(dim=-1).values, maps.mean(dim=-1)], dim=1)
    for number in (1, 2):
        hidden = network.get_submodule(f"linear{number}")(hidden)
        hidden = functional.leaky_relu(network.get_submodule(f"bn{number + 5}")(hidden), 0.2)
    logits: Tensor = network.get_submodule("linear3")(hidden)
    return logits


def _plain_pointnet2(network: nn.Module, points_BND: Tensor) -> Tensor:
    xyz, features = points_BND, torch.empty(*points_BND.shape[:2], 0)
    for part, radius, most, count in (
        ("sa1", 0.2, 512, 32),
        ("sa2", 0.4, 128, 64),
        ("sa3", 0, 0, 0),
    ):
        layers = network.get_submodule(part)
        if count:
            centres = _taken(xyz, farthest_points(xyz, min(most, xyz.shape[1])))
            distance = torch.cdist(centres.double(), xyz.double())
            index = distance.topk(min(count, xyz.shape[1]), largest=False).indices
            index = torch.where(distance.gather(-1, index) > radius, index[..., :1], index)
            group = _taken(xyz, index) - centres.unsqueeze(2)
            group = torch.cat([group, _taken(features, index)], dim=-1)
            xyz = centres
        else:
            group = torch.cat([xyz, features], dim=-1).unsqueeze(1)
        maps = _channels_first(group)
        for layer in range(3):
            convolution = layers.get_submodule(f"mlp_convs.{layer}")
            norm = layers.get_submodule(f"mlp_bns.{layer}")
            maps = functional.relu(_conv_norm(convolution, norm, maps))
        features = maps.max(dim=-1).values.transpose(1, 2)
    hidden = features[:, 0]
    for number in (1, 2):
        hidden = network.get_submodule(f"fc{number}")(hidden)
        hidden = functional.relu(network.get_submodule(f"bn{number}")(hidden))
    logits: Tensor = network.get_submodule("fc3")(hidden)
    return logits


def _plain_residual(part: nn.Module, maps: Tensor) -> Tensor:
    narrow = _conv_norm(part.get_submodule("net1.0"), part.get_submodule("net1.1"), maps)
    wide = _conv_norm(
        part.get_submodule("net2.0"), part.get_submodule("net2.1"), functional.relu(narrow)
    )
    return functional.relu(wide + maps)


def _parts(network: nn.Module, name: str) -> Iterator[nn.Module]:
    yield from network.get_submodule(name).children()


def _plain_pointmlp(network: nn.Module, points_BND: Tensor) -> Tensor:
    xyz, net = points_BND, network.get_submodule("embedding.net")
    maps = _conv_norm(net.get_submodule("0"), net.get_submodule("1"), xyz.transpose(1, 2))
    maps = functional.relu(maps)
    for stage in range(4):
        features = maps.transpose(1, 2)
        sampled = farthest_points(xyz, xyz.shape[1] // 2)
        centres, own = _taken(xyz, sampled), _taken(features, sampled).unsqueeze(2)
        count = min(24, xyz.shape[1])
        index = torch.cdist(centres.double(), xyz.double()).topk(count, largest=False).indices
        offset = _taken(features, index) - own
        scale = torch.stack([cloud.std() for cloud in offset]).view(-1, 1, 1, 1) + 1e-5
        grouper = f"local_grouper_list.{stage}"
        stretched = offset / scale * network.get_parameter(f"{grouper}.affine_alpha")
        stretched = stretched + network.get_parameter(f"{grouper}.affine_beta")
        groups = _channels_first(torch.cat([stretched, own.expand_as(stretched)], dim=-1))
        net = network.get_submodule(f"pre_blocks_list.{stage}.transfer.net")
        groups = _conv_norm(net.get_submodule("0"), net.get_submodule("1"), groups).relu()
        for part in _parts(network, f"pre_blocks_list.{stage}.operation"):
            groups = _plain_residual(part, groups)
        maps = groups.max(dim=-1).values
        for part in _parts(network, f"pos_blocks_list.{stage}.operation"):
            maps = _plain_residual(part, maps)
        xyz = centres
    logits: Tensor = network.get_submodule("classifier")(maps.max(dim=-1).values)
    return logits


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("dgcnn", _plain_dgcnn),
        ("pointnet2-ssg", _plain_pointnet2),
        ("pointmlp-elite", _plain_pointmlp),
    ],
)
def test_logits_are_those_of_plain_convolutions(name: str, plain: Any) -> None:
    torch.manual_seed(0)
    points_BND = clouds(4, 128)
    network = settled(build_model(name, num_classes=6), points_BND)
    with torch.no_grad():
        torch.testing.assert_close(
            network(points_BND), plain(network, points_BND), rtol=1e-3, atol=1e-3
        )


def test_an_edge_convolution_trains_as_a_plain_one() -> None:
    generator = torch.Generator().manual_seed(0)
    part, plain = EdgeConvolution(5, 7), EdgeConvolution(5, 7)
    plain.load_state_dict(part.state_dict())
    features_BNF = torch.randn(3, 30, 5, generator=generator, requires_grad=True)
    index_BNK = torch.randint(30, (3, 30, 4), generator=generator)
    expected_BNG = _plain_edges(plain, features_BNF, index_BNK)
    found_BNG = part(features_BNF, index_BNK)
    torch.testing.assert_close(found_BNG, expected_BNG)
    weight_BNG = torch.randn(found_BNG.shape, generator=generator)
    gradients = [
        torch.autograd.grad((weight_BNG * values).sum(), (features_BNF, *network.parameters()))
        for values, network in ((found_BNG, part), (expected_BNG, plain))
    ]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(part.get_buffer(name), plain.get_buffer(name))


def test_in_evaluation_neighbours_are_those_of_the_network_in_double_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that no library, device or batch chooses another: in float32 many differ here."""
    torch.manual_seed(0)
    points_BND = clouds(4, 128) + 20
    network = settled(build_model("dgcnn", num_classes=6), points_BND)
    found: list[Tensor] = []

    def watched(features_BNF: Tensor, count: int) -> Tensor:
        index_BNK = nearest_features(features_BNF, count)
        found.append(index_BNK)
        return index_BNK

    monkeypatch.setattr(dgcnn, "nearest_features", watched)
    with torch.no_grad():
        logits_BC = network(points_BND)
        exact_BC = network.double()(points_BND.double())
        with torch.autocast("cpu"):
            half_BC = network.float()(points_BND)
    assert len(found) == 9
    assert all(index.equal(exact) for index, exact in zip(found[:3], found[3:6], strict=True))
    assert not found[1].equal(found[7])  # half precision asks for less, and gets it
    assert (logits_BC.dtype, exact_BC.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(logits_BC, exact_BC.float(), rtol=1e-4, atol=1e-5)
    assert half_BC.isfinite().all()


def test_neighbours_far_from_zero_are_those_that_differences_show() -> None:
    """In float32 a product of these is a million, and rounding hides what tells them apart."""
    generator = torch.Generator().manual_seed(0)
    features_BNF = 100 + 0.1 * torch.randn(2, 200, 64, generator=generator)
    exact_BNF = features_BNF.double()
    squared_BNN = (exact_BNF.unsqueeze(1) - exact_BNF.unsqueeze(2)).square().sum(dim=-1)
    expected_BNK = squared_BNN.topk(20, largest=False).indices
    assert nearest_features(features_BNF, 20).equal(expected_BNK)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_order_of_the_points_and_the_companions_are_without_effect(name: str) -> None:
    torch.manual_seed(0)
    points_BND = tied_clouds(100)
    network = settled(build_model(name, num_classes=6), points_BND)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole_BC = network(points_BND)
        torch.testing.assert_close(network(points_BND[:, order]), whole_BC, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(network(points_BND[1:2]), whole_BC[1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_clouds_that_are_hardly_clouds_have_logits_and_train(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name, num_classes=6).train()
    points_BND = torch.cat([clouds(2, 40), torch.zeros(1, 40, 3), torch.ones(1, 40, 3)])
    logits = network(points_BND)
    assert logits.isfinite().all()
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    network.eval()
    with torch.no_grad():
        assert network(clouds(2, 1)).isfinite().all()
        points_BND[1, 7, 1] = torch.nan
        broken_BC = network(points_BND)
    assert broken_BC[1].isnan().any()
    assert broken_BC[[0, 2, 3]].isfinite().all()
