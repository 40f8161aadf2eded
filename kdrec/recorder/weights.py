"""A network's tensors from a file that cannot execute anything, and into the network.

PyTorch files are pickles. They go through PyTorch's restricted unpickler with a short allow-list.
The numpy entries of that list are stand-ins of ours: numpy's own reconstruction trusts the flags
that a pickle claims for a dtype, so that a crafted one makes it read raw bytes as object pointers.
"""

import argparse
import hashlib
import json
import pickle
import re
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError, KdrecError, NotFoundError

PICKLE_ENDINGS = (".pt", ".pth", ".th", ".t7", ".ckpt", ".bin", ".tar")
ENDINGS = (".safetensors", ".npz", *PICKLE_ENDINGS)
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "base_model")

_PREFIXES = ("module.", "_orig_mod.")
_DEEPEST = 8  # wrappers in one another; a pickle may hold itself
_NAMES_SHOWN = 4
_DTYPE_CODE = re.compile(r"[biufcSU][0-9]{1,9}")
_REFUSED = re.compile(r"GLOBAL (\S+)")
_INSTEAD = "save the state_dict alone (torch.save(model.state_dict(), ...)), or use safetensors"

AnyArray: TypeAlias = npt.NDArray[Any]


def load_tensors(path: Path, *, key: str | None = None) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU, as a network's `state_dict` has them.

    Wrappers of training programs (`state_dict`, `model` ...) and the prefixes that data-parallel
    and compiled modules leave on every name are removed.

    Args:
        path: A `.safetensors`, `.npz` or PyTorch file.
        key: Entry that holds the tensors where it is not one of the usual names; dots lead deeper.

    Raises:
        InvalidInputError: The file is damaged, of another kind, holds something that is not
            allowed, or has no tensors under the key.
        NotFoundError: There is no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"no file {path}; give the file that holds the teacher's weights")
    read = _reader(path)
    try:
        content = _entry(read(path), key, path)
        return _strip_prefixes(_tensors(_unwrap(content), path))
    except KdrecError:
        raise
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except Exception as error:
        # A damaged file makes its reader fail in any way at all, IndexError and MemoryError too.
        reason = str(error).strip().partition("\n")[0] or "no more is said"
        raise InvalidInputError(
            f"{path} cannot be read as {path.suffix} ({type(error).__name__}: {reason}): it is "
            f"damaged, or of another kind; give {', '.join(ENDINGS)}"
        ) from error


def assign_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a network: all of its own, and no others.

    Raises:
        InvalidInputError: A name is missing or unknown, or a shape differs; the network is then
            partly assigned.
    """
    try:
        outcome = module.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise InvalidInputError(_mismatch(module, tensors) or f"weights: {error}") from error
    problems = [
        f"{len(names)} {what} ({_first(names)})"
        for what, names in (
            ("missing", outcome.missing_keys),
            ("unexpected", outcome.unexpected_keys),
        )
        if names
    ]
    if problems:
        raise InvalidInputError(
            f"the weights do not fit {type(module).__name__}: tensors {', '.join(problems)}; "
            "check the factory's arguments, or name the entry of the file with --weights-key"
        )


def tensors_digest(module: nn.Module) -> str:
    """SHA-256 of a network's parameters and persistent buffers, whatever file they came from.

    Of each entry of the `state_dict`, sorted by name: a line of JSON [name, dtype, shape], then
    its bytes, little-endian, in C order.

    Raises:
        InvalidInputError: An entry is not a plain tensor.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, Tensor) or tensor.is_quantized or tensor.layout != torch.strided:
            raise InvalidInputError(
                f"the teacher's {name!r} is not a plain tensor ({_kind(tensor)}) and has no digest;"
                " give a network of dense tensors",
                kind=ErrorKind.UNSUITABLE_TEACHER,
            )
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(json.dumps([name, dtype, list(tensor.shape)]).encode() + b"\n")
        digest.update(_little_endian(tensor))
    return digest.hexdigest()


def _little_endian(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    with suppress(TypeError):  # numpy has no bfloat16 and no float8
        array = flat.numpy()
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    same_size: dict[int, torch.dtype] = {1: torch.uint8, 2: torch.int16}
    return flat.view(same_size[flat.itemsize]).numpy().astype(f"<i{flat.itemsize}").tobytes()


def _reader(path: Path) -> Callable[[Path], Any]:
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return _read_safetensors
    if ending == ".npz":
        return _read_npz
    if ending in PICKLE_ENDINGS:
        return _read_pickle
    raise InvalidInputError(
        f"weights must end in {', '.join(ENDINGS)}, got {path.name}; rename or convert the file"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"{path} needs the package safetensors; pip install 'kdrec[record]'",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error
    return load_file(path)


def _read_npz(path: Path) -> dict[str, AnyArray]:
    with path.open("rb") as file:  # numpy leaves a file open that it cannot read
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InvalidInputError(f"{path} holds one array without a name; save it by np.savez")
        return {name: archive[name] for name in archive.files}


def _read_pickle(path: Path) -> Any:
    # Without map_location a file written on a GPU cannot be read where there is none.
    with torch.serialization.safe_globals(_ALLOWED):
        return torch.load(path, map_location="cpu", weights_only=True)


def _refusal(path: Path, error: pickle.UnpicklingError) -> InvalidInputError:
    found = _REFUSED.search(str(error))
    if found is None:
        reason = str(error).strip().rpartition("\n")[2]
        return InvalidInputError(f"{path} is not a PyTorch file that can be read safely: {reason}")
    return InvalidInputError(
        f"{path} holds a {found[1]}, which is refused: reading it could run code. Allowed are "
        f"tensors, numpy arrays and numbers, plain namespaces; {_INSTEAD}"
    )


def _entry(content: Any, key: str | None, path: Path) -> Any:
    """Follow a key; an entry whose own name has dots wins over the way through them."""
    if key is None:
        return content
    if isinstance(content, Mapping) and key in content:
        return content[key]
    here = content
    for part in key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            raise InvalidInputError(f"{path} has no entry {key!r}; {_overview(content)}")
        here = here[part]
    return here


def _unwrap(content: Any) -> Any:
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise InvalidInputError(
            f"{path} holds {_kind(content)} where named tensors should be; {_INSTEAD}"
        )
    tensors = {}
    for name, value in content.items():
        tensor = _as_tensor(value)
        if tensor is None or not isinstance(name, str):
            raise InvalidInputError(
                f"{path}: entry {name!r} is {_kind(value)}, not a tensor; if the weights are "
                f"deeper in the file, name their entry with --weights-key; {_overview(content)}"
            )
        tensors[name] = tensor
    return tensors


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, _PickledArray):
        value = value.array
    if not isinstance(value, np.ndarray | np.generic):
        return None
    native = np.array(value, dtype=value.dtype.newbyteorder("="))
    with suppress(TypeError):  # a dtype that PyTorch does not have: text, records
        return torch.from_numpy(native)
    return None


def _strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None)
    if prefix is None:
        return tensors
    return _strip_prefixes({name.removeprefix(prefix): t for name, t in tensors.items()})


def _mismatch(module: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    own = module.state_dict()
    different = [
        f"{name} is {tuple(tensor.shape)} in the file and {tuple(own[name].shape)} in the network"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if not different:
        return ""
    return (
        f"the weights do not fit {type(module).__name__}: {len(different)} shapes differ "
        f"({_first(different, '; ')}); check the factory's arguments, such as num_classes"
    )


def _overview(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it holds {_kind(content)}"
    entries = [f"{name} ({_kind(value)})" for name, value in content.items()]
    return f"it has the entries: {_first(entries, ', ', most=12) or 'none'}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"mapping of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"numpy array of {value.dtype}"
    return type(value).__name__.lstrip("_")


def _first(names: list[str], separator: str = ", ", *, most: int = _NAMES_SHOWN) -> str:
    more = f"{separator}and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


class _PickledType:
    """Stands for `numpy.ndarray` where a pickle names it; nothing is done with it."""


class _PickledDtype:
    """Stands for `numpy.dtype`: of numbers and text; only code and byte order are believed."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        del align, copy
        if not _DTYPE_CODE.fullmatch(code):
            raise InvalidInputError(
                f"the file holds a numpy array of dtype {code!r}, which is refused; allowed are "
                f"numbers and text; {_INSTEAD}"
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order: Literal["<", ">", "="] = state[1] if state[1] in ("<", ">") else "="
        self.dtype = self.dtype.newbyteorder(order)


class _PickledArray:
    """Stands for what numpy's `_reconstruct` makes: filled from plain bytes or not at all."""

    def __init__(self, subtype: object, shape: object, code: object) -> None:
        del subtype, shape, code  # numpy always gives the shape again, and the data, as state

    array: AnyArray = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, pickled, is_fortran, data = state
        flat = np.frombuffer(_plain_bytes(data), dtype=pickled.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C").copy()


def _pickled_scalar(pickled: _PickledDtype, data: object) -> Any:
    return np.frombuffer(_plain_bytes(data), dtype=pickled.dtype, count=1)[0]


def _plain_bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise InvalidInputError(f"the file holds a numpy array of Python objects; {_INSTEAD}")
    return data


# numpy 1 wrote numpy.core, numpy 2 writes numpy._core.
_ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    types.SimpleNamespace,
    OrderedDict,
    _PickledArray,
    _PickledDtype,
    (_PickledDtype, "numpy.dtype"),
    (_PickledType, "numpy.ndarray"),
    *[(_PickledArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")],
    *[(_pickled_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")],
]
