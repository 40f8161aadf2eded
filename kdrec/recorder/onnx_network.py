"""A network from an ONNX file, run by onnxruntime.

Shape letters: B batch.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError

ENDING = ".onnx"

_NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}


def is_onnx(teacher: str) -> bool:
    """Whether the text names an ONNX file."""
    return teacher.lower().endswith(ENDING)


class OnnxNetwork(nn.Module):
    """Calls an ONNX file as if it were a network of torch's.

    Points are given to it in the numbers that it takes: half, single or double precision.

    The session has as many threads as torch has when it is called, and is made anew when that
    changes: their number is part of a plan, because it changes the last bits of logits.

    Args:
        path: Of the file; tensors that it keeps in files beside it are found by onnxruntime.
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        InvalidInputError: It is no ONNX file, has not one input of such numbers, or the device
            cannot be used.
        NotFoundError: There is no such file.
    """

    def __init__(self, path: Path, *, device: str) -> None:
        super().__init__()
        if not path.is_file():
            raise NotFoundError(f"no file {path}; give the path of an ONNX file")
        self._path = path
        self._device = torch.device(device)
        self._runtime = _runtime()
        self._provider = self._choose_provider()
        self._threads = 0
        self._session: Any = None
        self._open(torch.get_num_threads())

    def forward(self, points: Tensor) -> Tensor | dict[str, Tensor]:
        """The one output of the file, or all by name.

        Raises:
            InvalidInputError: The file takes points of another shape.
        """
        if torch.get_num_threads() != self._threads:
            self._open(torch.get_num_threads())
        (taken,) = self._session.get_inputs()
        self._check_shape(taken.shape, tuple(points.shape))
        given = points.cpu().contiguous().numpy().astype(_NUMBERS[taken.type], copy=False)
        found = self._session.run(None, {taken.name: given})
        outputs = {
            output.name: torch.from_numpy(array)
            for output, array in zip(self._session.get_outputs(), found, strict=True)
        }
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def _check_shape(self, taken: list[int | str | None], given: tuple[int, ...]) -> None:
        fits = not taken or (
            len(taken) == len(given)
            and all(w == g for w, g in zip(taken, given, strict=True) if isinstance(w, int))
        )
        if not fits:
            wanted = ", ".join("any" if not isinstance(size, int) else str(size) for size in taken)
            raise InvalidInputError(
                f"{self._path.name} takes points of shape ({wanted}), got {given}; make them agree "
                "by --batch-size, --num-points or --input-layout",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )

    def _open(self, threads: int) -> None:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads = threads
        options.log_severity_level = 3  # of what it warns, nothing concerns who records
        try:
            self._session = self._runtime.InferenceSession(
                self._path, options, providers=[self._provider]
            )
        except Exception as error:
            # onnxruntime has an exception for each of its states, none of them public.
            reason = str(error).strip().partition("\n")[0]
            raise InvalidInputError(
                f"{self._path} cannot be read as ONNX: {reason}; it is damaged, or needs another "
                "onnxruntime",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            ) from error
        self._check_inputs(self._session.get_inputs())

    def _check_inputs(self, inputs: list[Any]) -> None:
        if len(inputs) != 1:
            names = ", ".join(found.name for found in inputs)
            raise InvalidInputError(
                f"{self._path} has {len(inputs)} inputs ({names}); a teacher must have one, the "
                "points",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )
        if inputs[0].type not in _NUMBERS:
            raise InvalidInputError(
                f"{self._path} takes {inputs[0].type}; a teacher must take points as one of "
                f"{', '.join(_NUMBERS)}",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )

    def _choose_provider(self) -> str | tuple[str, dict[str, str]]:
        if self._device.type == "cpu":
            return "CPUExecutionProvider"
        if "CUDAExecutionProvider" not in self._runtime.get_available_providers():
            raise InvalidInputError(
                f"device {str(self._device)!r} needs onnxruntime-gpu for an ONNX teacher, and this "
                f"onnxruntime has {', '.join(self._runtime.get_available_providers())}; use "
                "--device cpu"
            )
        # By default float32 would be computed in TF32, and algorithms chosen by timing.
        exact = {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
        return "CUDAExecutionProvider", {"device_id": str(self._device.index or 0), **exact}


def onnx_digest(path: Path) -> str:
    """SHA-256 of the file and, in the order of their names, of the files it keeps tensors in."""
    import onnx

    digest = hashlib.sha256(path.read_bytes())
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        # A damaged file fails in the reader of protocol buffers, in any way.
        raise InvalidInputError(f"{path} cannot be read as ONNX: it is damaged") from error
    for name in sorted(_external_files(model)):
        beside = path.parent / name
        if not beside.is_file():
            raise NotFoundError(f"{path} keeps tensors in {name}, which is not beside it")
        with beside.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _external_files(model: Any) -> set[str]:
    inside = [_node_tensors(function.node) for function in model.functions]
    return {
        entry.value
        for tensor in chain(_graph_tensors(model.graph), *inside)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    """Constants, and what the branches and loops hold that a node may be."""
    for attribute in chain.from_iterable(node.attribute for node in nodes):
        yield from (attribute.t, *attribute.tensors)  # those not set are empty
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"an ONNX teacher needs the package {error.name}; pip install 'kdrec[onnx]'",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error
    return onnxruntime
