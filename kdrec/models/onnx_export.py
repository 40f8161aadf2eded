"""A network as an ONNX file, checked against the network before it is kept.

Shape letters: B batch, N points, D channels.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError, StorageError

INPUT_NAME, OUTPUT_NAME = "points", "logits"
TOLERANCE = 1e-4

_OPSET = 18
_TRACED_CLOUDS = 4
_CHECKED_CLOUDS = 3


def export_onnx(
    network: nn.Module, path: Path, *, num_points: int = 1024, num_channels: int = 3
) -> float:
    """Write a network to an ONNX file: clouds of one size, in batches of any.

    The file is run by onnxruntime beside the network, on another number of clouds than it was
    traced with, and appears under its name only if both give the same logits.

    Args:
        network: On the CPU, returns one tensor; put into evaluation.
        path: Ends in `.onnx`; a file there is replaced.
        num_points: N, fixed in the file.
        num_channels: D.

    Returns:
        Greatest difference of a logit, as a part of the greatest logit if that is above 1.

    Raises:
        InvalidInputError: The name has another ending, packages are missing, the network does not
            take such clouds or cannot be exported, or the file gives other logits.
        StorageError: The file cannot be written.
    """
    if path.suffix != ".onnx":
        raise InvalidInputError(f"an ONNX file must end in .onnx, got {path.name}")
    _check_packages()
    network.eval()
    generator = torch.Generator().manual_seed(0)
    size = (_TRACED_CLOUDS + _CHECKED_CLOUDS, num_points, num_channels)
    points_BND = torch.rand(size, generator=generator) * 1.6 - 0.8
    checked_BND = points_BND[_TRACED_CLOUDS:]
    expected = _answer(network, checked_BND)
    program = _translate(network, points_BND[:_TRACED_CLOUDS])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
            written = Path(folder) / path.name
            program.save(written)
            found = _run(network, written, checked_BND)
            difference = _difference(network, found, expected)
            written.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    return difference


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"ONNX export needs the package {error.name}; pip install 'kdrec[onnx]'",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error


def _answer(network: nn.Module, points_BND: Tensor) -> Tensor:
    try:
        with torch.inference_mode():
            returned = network(points_BND)
    except InvalidInputError:
        raise  # a network of ours says itself what is wrong
    except Exception as error:
        raise InvalidInputError(
            f"{type(network).__name__} fails on points of shape {tuple(points_BND.shape)}: "
            f"{type(error).__name__}: {error}; give the points and channels that it takes"
        ) from error
    if not isinstance(returned, Tensor):
        raise InvalidInputError(
            f"{type(network).__name__} returns a {type(returned).__name__}; a network to export "
            "must return one tensor, the logits"
        )
    return returned


def _translate(network: nn.Module, points_BND: Tensor) -> torch.onnx.ONNXProgram:
    from kdrec.models.onnx_operators import farthest_points

    operators: dict[Callable[..., Any], Callable[..., Any]] = {
        torch.ops.kdrec.farthest_points.default: farthest_points
    }
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (points_BND,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                custom_translation_table=operators,
                # That of onnxscript 0.7 turns 1 / x into NaN; onnxruntime optimizes by itself.
                optimize=False,
            )
    except Exception as error:
        # The exporter fails in its own ways for its own reasons; the network is the user's.
        raise InvalidInputError(
            f"{type(network).__name__} cannot be exported to ONNX: {_innermost(error)}; use it as "
            "it is"
        ) from error
    assert program is not None
    return program


def _innermost(error: BaseException) -> str:
    """What went wrong at first: the exporter's own words only say at which of its steps."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress and its remarks on libraries that are not there say nothing here."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _run(network: nn.Module, path: Path, points_BND: Tensor) -> Tensor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: points_BND.numpy()})
    except Exception as error:
        # onnxruntime has an exception for each of its states, none of them public.
        raise InvalidInputError(
            f"onnxruntime cannot run the ONNX file of {type(network).__name__}: "
            f"{_innermost(error)}; use the network as it is"
        ) from error
    return torch.from_numpy(found)


def _difference(network: nn.Module, found: Tensor, expected: Tensor) -> float:
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max()) / scale
    if not difference <= TOLERANCE:  # a NaN is not
        raise InvalidInputError(
            f"the ONNX file of {type(network).__name__} gives other logits than the network: they "
            f"differ by {difference:.3g}, at most {TOLERANCE:g} is rounding; this is a fault of "
            "the exporter: use the network as it is"
        )
    return difference
