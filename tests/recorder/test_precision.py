"""The precision that a teacher computes with."""

from collections.abc import Iterator

import pytest
import torch

from kdrec.errors import InvalidInputError
from kdrec.recorder.precision import PRECISIONS, Precision, compute_precision

CPU = torch.device("cpu")


def _flags() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        cudnn.allow_tf32,
        cudnn.benchmark,
        cudnn.deterministic,
        getattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision", None),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.fixture(params=["highest", "medium"])
def matmul_before(request: pytest.FixtureRequest) -> Iterator[str]:
    """PyTorch as a program may have left it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("float32", torch.float32),
        ("tf32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_a_product_is_computed_in_the_precision(precision: Precision, dtype: torch.dtype) -> None:
    ones = torch.ones(2, 2)
    with compute_precision(precision, CPU):
        assert (ones @ ones).dtype == dtype


def test_float32_means_float32_on_every_device(matmul_before: str) -> None:
    with compute_precision("float32", CPU):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32


def test_tf32_is_allowed_where_it_is_asked_for() -> None:
    with compute_precision("tf32", CPU):
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32


def test_cudnn_may_not_choose_its_algorithm_by_timing() -> None:
    with compute_precision("float32", CPU):
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize("precision", PRECISIONS)
def test_everything_is_as_before_afterwards(precision: Precision, matmul_before: str) -> None:
    before = _flags()
    with compute_precision(precision, CPU):
        pass
    assert _flags() == before


def test_everything_is_as_before_after_an_error() -> None:
    before = _flags()
    with pytest.raises(ZeroDivisionError), compute_precision("tf32", CPU):
        raise ZeroDivisionError
    assert _flags() == before


def test_float32_holds_inside_a_program_that_autocasts() -> None:
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with compute_precision("float32", CPU):
            assert (ones @ ones).dtype == torch.float32
        assert (ones @ ones).dtype == torch.bfloat16


def test_an_unknown_precision_is_refused() -> None:
    with (
        pytest.raises(InvalidInputError, match=r"one of float32, tf32, bf16, fp16, got 'fp8'"),
        compute_precision("fp8", CPU),  # type: ignore[arg-type]
    ):
        pass
