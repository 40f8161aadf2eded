"""A teacher: any network, made by a factory, of which only the logits of a batch are asked.

Shape letters: B batch, N points, D channels of a point, C classes.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.factories import call_factory, is_factory
from kdrec.models import build_model, find_model
from kdrec.recorder.compiled import compile_network
from kdrec.recorder.devices import check_device, memory_named, prepare_device
from kdrec.recorder.ensemble import EnsembleNetwork, is_ensemble, read_ensemble
from kdrec.recorder.onnx_network import OnnxNetwork, is_onnx, onnx_digest
from kdrec.recorder.precision import Precision, check_precision, compute_precision
from kdrec.recorder.votes import Votes
from kdrec.recorder.weights import assign_weights, load_tensors, tensors_digest

InputLayout = Literal["BN3", "B3N"]
INPUT_LAYOUTS: tuple[InputLayout, ...] = get_args(InputLayout)

Argument: TypeAlias = int | float | bool | str

_SAID_INSIDE = (ErrorKind.UNSUITABLE_TEACHER, ErrorKind.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """What makes a teacher.

    Attributes:
        factory: `package.module:factory`, `file.py:factory`, the name of a registered model, an
            `.onnx` file, or a `.toml` file that names the members of an ensemble.
        arguments: The factory's.
        weights: File of its tensors; None where the factory loads them itself.
        weights_key: Entry of that file that holds the tensors, where it has an unusual name.
        input_layout: `BN3` points last (batch, points, channels), `B3N` channels first.
        output: Entry of what the network returns, where that is not one tensor: a place in a
            tuple, a key of a mapping, a field.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: What it computes with.
        num_classes: Of a registered model; None to tell it from the weights.
        votes: How often it looks at a record when it is recorded; None for once, as it is.
        fast: Whether a GPU may choose its algorithms by their speed, see `kdrec.store.Plan`.
        compiled: Whether the network is compiled by torch; on a GPU it then runs as CUDA graphs.
    """

    factory: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    weights: Path | None = None
    weights_key: str | None = None
    input_layout: InputLayout = "BN3"
    output: str | None = None
    device: str = "cpu"
    precision: Precision = "float32"
    num_classes: int | None = None
    votes: Votes | None = None
    fast: bool = False
    compiled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A network in evaluation, frozen, on its device.

    Attributes:
        module: The network.
        options: What made it.
        digest: Of its tensors, whatever file or factory they came from.
        class_names: As the network itself names its classes, None where it does not.
        described_arguments: The factory's arguments without paths: a file stands as the SHA-256
            of its content, a folder as its name; and the votes.
        compiled: The network as torch compiled it; None to run it as it is.
    """

    module: nn.Module
    options: TeacherOptions
    digest: str
    class_names: tuple[str, ...] | None
    described_arguments: Mapping[str, Argument]
    compiled: Callable[[Tensor], Any] | None = None

    @property
    def name(self) -> str:
        """The factory's name or the registered one, `onnx` or `ensemble`; never a path."""
        if is_onnx(self.options.factory):
            return "onnx"
        if is_ensemble(self.options.factory):
            return "ensemble"
        return self.options.factory.rpartition(":")[2]

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device(self.options.device)

    def uncompiled(self) -> "Teacher":
        """The same, for batches of other shapes, each of which would be compiled anew."""
        return dataclasses.replace(self, compiled=None)

    def logits(self, points_BND: Tensor) -> Tensor:
        """The teacher's logits of a batch, float32 (B, C), on its device.

        Raises:
            InvalidInputError: A part of the network is in training mode, the network fails on the
                batch, or it returns something else than logits.
        """
        _check_evaluating(self.module)
        precision = compute_precision(self.options.precision, self.device, fast=self.options.fast)
        with torch.inference_mode(), precision:
            returned = self._forward(self._layout(points_BND.to(self.device)))
            logits_BC = pick_output(returned, self.options.output)
            _check_logits(logits_BC, len(points_BND))
        # Copied outside inference mode: a loss on a live teacher may save it for its gradient. And
        # copied in any case: a CUDA graph writes its next answer to the same memory.
        return logits_BC.to(self.device, torch.float32, copy=True)

    def _layout(self, points_BND: Tensor) -> Tensor:
        if self.options.input_layout == "BN3":
            return points_BND
        return points_BND.transpose(1, 2).contiguous()

    def _forward(self, points: Tensor) -> Any:
        network = self.module if self.compiled is None else self.compiled
        try:
            with memory_named(self.device, len(points)):
                return network(points)
        except Exception as error:
            if isinstance(error, InvalidInputError) and error.kind in _SAID_INSIDE:
                raise  # an ONNX file or a member of an ensemble says itself what is wrong
            compiled = "" if self.compiled is None else ", and leave out --compile to see more"
            raise InvalidInputError(
                f"teacher {self.name} fails on an input of shape {tuple(points.shape)} "
                f"(input layout {self.options.input_layout}): {type(error).__name__}: {error}; "
                f"if it wants the other layout, say so with --input-layout{compiled}",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            ) from error


def load_teacher(options: TeacherOptions) -> Teacher:
    """Make a teacher and give it its weights.

    Raises:
        InvalidInputError: An option is out of range, the factory gives no network, or the weights
            do not fit it.
        NotFoundError: No such factory or file.
    """
    _check_options(options)
    prepare_device(torch.device(options.device))
    if is_onnx(options.factory):
        module, digest = _load_onnx(options)
    elif is_ensemble(options.factory):
        module, digest = _load_ensemble(options)
    else:
        module, digest = _load_network(options)
    return Teacher(
        module=module,
        options=options,
        digest=digest,
        class_names=_class_names(module),
        described_arguments=_described_arguments(options),
        compiled=_compiled(module, options),
    )


def _compiled(module: nn.Module, options: TeacherOptions) -> Callable[[Tensor], Any] | None:
    """The members of an ensemble are compiled each by itself."""
    if not options.compiled or is_ensemble(options.factory):
        return None
    return compile_network(module, torch.device(options.device))


def _load_network(options: TeacherOptions) -> tuple[nn.Module, str]:
    tensors = None
    if options.weights is not None:
        tensors = load_tensors(options.weights, key=options.weights_key)
    module = _build(options, tensors)
    if tensors is not None:
        assign_weights(module, tensors)
    module.eval()
    module.requires_grad_(False)
    digest = tensors_digest(module)
    return module.to(torch.device(options.device)), digest


def _load_onnx(options: TeacherOptions) -> tuple[nn.Module, str]:
    _check_complete(options, "an ONNX file")
    if options.precision != "float32":
        raise InvalidInputError(
            f"an ONNX file computes in its own precision, got precision {options.precision!r}; "
            "leave it out, or convert the file"
        )
    if options.compiled:
        raise InvalidInputError(
            "an ONNX file is run by onnxruntime and cannot be compiled; leave out --compile"
        )
    path = Path(options.factory)
    return OnnxNetwork(path, device=options.device).eval(), onnx_digest(path)


def _load_ensemble(options: TeacherOptions) -> tuple[nn.Module, str]:
    _check_complete(options, "an ensemble")
    if options.input_layout != "BN3" or options.output is not None:
        raise InvalidInputError(
            "input layout and output are said for each member of an ensemble, in its file; leave "
            "them out"
        )
    ensemble = read_ensemble(Path(options.factory))
    members = [
        load_teacher(
            TeacherOptions(
                factory=member.teacher,
                device=options.device,
                precision=options.precision,
                fast=options.fast,
                compiled=options.compiled,
                **member.model_dump(exclude={"teacher"}),
            )
        )
        for member in ensemble.member
    ]
    module = EnsembleNetwork(members, ensemble.mean)
    return module.eval(), module.digest(ensemble)


def pick_output(returned: Any, output: str | None) -> Tensor:
    """The tensor meant, of what a network returned.

    Args:
        returned: A tensor; or a sequence, mapping or object of several things.
        output: Which of the several; None for a network that returns one tensor.

    Raises:
        InvalidInputError: The choice is missing, superfluous, or leads to no tensor; lists what
            there is.
    """
    if isinstance(returned, Tensor):
        if output is None:
            return returned
        raise _unsuitable(
            f"the teacher returns one tensor of shape {tuple(returned.shape)}, so that there is no "
            f"entry {output!r} to choose; leave out --output"
        )
    entries = _entries(returned)
    listed = ", ".join(f"{name} ({_describe_value(value)})" for name, value in entries.items())
    if output is None:
        raise _unsuitable(
            f"the teacher returns a {type(returned).__name__}; name the entry that holds the logits"
            f" with --output: {listed or 'it has none'}"
        )
    chosen = entries.get(output)
    if not isinstance(chosen, Tensor):
        what = "is not a tensor" if output in entries else "does not exist"
        raise _unsuitable(
            f"entry {output!r} of the teacher's {type(returned).__name__} {what}; "
            f"choose with --output: {listed or 'it has none'}"
        )
    return chosen


def _unsuitable(message: str) -> InvalidInputError:
    return InvalidInputError(message, kind=ErrorKind.UNSUITABLE_TEACHER)


def _check_complete(options: TeacherOptions, what: str) -> None:
    if options.weights is not None or options.arguments:
        raise InvalidInputError(
            f"{what} holds or names its weights and takes no arguments; leave out --weights and "
            "--teacher-arg"
        )


def _check_options(options: TeacherOptions) -> None:
    if options.input_layout not in INPUT_LAYOUTS:
        raise InvalidInputError(
            f"input layout must be {' or '.join(INPUT_LAYOUTS)}, got {options.input_layout!r}"
        )
    check_precision(options.precision)
    check_device(options.device)


def _build(options: TeacherOptions, tensors: Mapping[str, Tensor] | None) -> nn.Module:
    if not is_factory(options.factory):
        return _build_registered(options, tensors)
    module = call_factory(options.factory, options.arguments)
    if not isinstance(module, nn.Module):
        raise _unsuitable(
            f"{options.factory} gives a {type(module).__name__}; a teacher's factory must return a "
            "torch.nn.Module"
        )
    return module


def _build_registered(options: TeacherOptions, tensors: Mapping[str, Tensor] | None) -> nn.Module:
    info = find_model(options.factory)
    if tensors is None:
        raise InvalidInputError(
            f"teacher {info.name!r} has no weights and would be random; name their file with "
            "--weights"
        )
    arguments: dict[str, Any] = dict(options.arguments)
    if "num_classes" not in arguments:
        arguments["num_classes"] = options.num_classes or _count_classes(info.head, tensors)
    return build_model(info.name, **arguments)


def _count_classes(head: str, tensors: Mapping[str, Tensor]) -> int:
    if f"model.{head}" in tensors and any(name.startswith("optimizer.") for name in tensors):
        raise InvalidInputError(
            "the weights' file is the last.safetensors of a training, with all that it needs to go "
            "on; give the best.safetensors beside it"
        )
    if head not in tensors or tensors[head].ndim == 0:
        raise InvalidInputError(
            f"the weights have no {head!r} to tell the number of classes from, but "
            f"{', '.join(list(tensors)[:3])} ...: they are another network's, or another entry of "
            "the file is meant (--weights-key)"
        )
    return len(tensors[head])


def _class_names(module: nn.Module) -> tuple[str, ...] | None:
    for attribute in ("class_names", "classes"):
        names = getattr(module, attribute, None)
        if isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names):
            return tuple(names)
    return None


def _described_arguments(options: TeacherOptions) -> dict[str, Argument]:
    described = {name: _describe(value) for name, value in options.arguments.items()}
    return described | (options.votes.described if options.votes else {})


def _describe(value: Argument) -> Argument:
    # A plain word is never taken for a path: the plan must not depend on what lies in a folder.
    if not isinstance(value, str) or not any(mark in value for mark in (".", "/", os.sep)):
        return value
    # os.path because Path.is_file raises on a text that is too long for a path.
    if os.path.isfile(value):  # noqa: PTH113
        with Path(value).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if os.path.isdir(value):  # noqa: PTH112
        return f"folder:{Path(value).resolve().name}"
    # What leads nowhere may still be a path (a prefix, a folder to come): none enters a plan.
    return value.rstrip("/" + os.sep).rpartition("/")[2].rpartition(os.sep)[2]


def _check_evaluating(module: nn.Module) -> None:
    training = [name or "itself" for name, part in module.named_modules() if part.training]
    if training:
        raise _unsuitable(
            f"{len(training)} parts of the teacher are in training mode ({', '.join(training[:3])})"
            " although it was put into evaluation: their logits would depend on chance or on the "
            "rest of the batch; remove the call of train() from its code"
        )


def _check_logits(logits_BC: Tensor, num_samples: int) -> None:
    shape = tuple(logits_BC.shape)
    if len(shape) != 2 or shape[0] != num_samples or shape[1] < 2:
        raise _unsuitable(
            f"the teacher returns shape {shape} for {num_samples} samples; it must return logits "
            f"of shape ({num_samples}, classes), one row a sample"
        )
    if not logits_BC.dtype.is_floating_point:
        raise _unsuitable(
            f"the teacher returns {str(logits_BC.dtype).removeprefix('torch.')}; it must return "
            "logits, not predicted classes"
        )


def _entries(returned: Any) -> dict[str, Any]:
    if isinstance(returned, Mapping):
        return {str(key): value for key, value in returned.items()}
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        fields = getattr(returned, "_fields", ())  # of a named tuple: both ways lead to it
        named = dict(zip(fields, returned, strict=True)) if fields else {}
        return named | {str(place): value for place, value in enumerate(returned)}
    if dataclasses.is_dataclass(returned):
        return {f.name: getattr(returned, f.name) for f in dataclasses.fields(returned)}
    return {}


def _describe_value(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    return type(value).__name__
