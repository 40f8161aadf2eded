"""Every network as torch compiles and autocasts it."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kdrec.models import build_model, list_models
from tests.models.networks import clouds, settled

NAMES = [info.name for info in list_models()]
COMPILED = ["dgcnn", "pointmlp-elite", "pointnet", "pointnet2-ssg", "pointvig-seg", "pointvig-xxs"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _forget_compiled() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def _logits(compiled: object, points_BND: Tensor) -> Tensor:
    assert callable(compiled)
    logits: Tensor = compiled(points_BND)
    return logits


@pytest.mark.parametrize("name", COMPILED)
def test_there_is_no_graph_break(name: str) -> None:
    torch.manual_seed(0)
    points_BND = clouds(2, 32)
    network = build_model(name, num_classes=5, dropout=0.0).train()
    compiled = torch.compile(network, fullgraph=True, backend="eager")  # raises at the first break
    torch.testing.assert_close(
        _logits(compiled, points_BND), network(points_BND), rtol=1e-4, atol=1e-4
    )


def test_the_backward_pass_compiles_where_features_choose_the_neighbours_in_half_precision() -> (
    None
):
    network = build_model(
        "pointvig-s", num_classes=5, neighbours="adaptive", widths=(8, 12), num_blocks=(1, 1)
    )
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _logits(compiled, clouds(2, 32)).float().square().sum()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gives_nearby_logits_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    points_BND = clouds(4, 64)
    network = settled(build_model(name, num_classes=5), points_BND)
    with torch.no_grad():
        exact = network(points_BND)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(points_BND)
    assert low.dtype == torch.bfloat16
    assert (low.float() - exact).abs().mean() < 0.1 * exact.abs().mean() + 0.05
    gradients = torch.autograd.grad(low.float().square().sum(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():  # the tensors themselves, as programs that only infer like to have them
        assert network.bfloat16()(points_BND.bfloat16()).isfinite().all()
