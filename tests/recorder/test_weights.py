"""Weights: every kind of file, what training programs wrap around them, and attacks."""

import argparse
import hashlib
import os
import pickle
import random
import struct
import types
import zipfile
from collections import OrderedDict
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError
from kdrec.models import build_model
from kdrec.recorder.weights import WRAPPERS, assign_weights, load_tensors, tensors_digest

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([0.5, -0.5])}


def _save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def _assert_state(tensors: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> None:
    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".PTH", ".th", ".t7", ".ckpt", ".bin", ".tar"])
def test_a_pytorch_file_is_read(tmp_path: Path, ending: str) -> None:
    _assert_state(load_tensors(_save(tmp_path / f"weights{ending}", STATE)))


def test_a_pytorch_file_of_the_old_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    _assert_state(load_tensors(path))


def test_a_safetensors_file_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "weights.safetensors")
    _assert_state(load_tensors(tmp_path / "weights.safetensors"))


def test_an_npz_file_is_read_whatever_its_byte_order(tmp_path: Path) -> None:
    weight = STATE["weight"].numpy().astype(">f4")
    np.savez(tmp_path / "weights.npz", weight=weight, bias=STATE["bias"].numpy())
    _assert_state(load_tensors(tmp_path / "weights.npz"))


def test_real_weights_are_the_same_from_npz_and_from_the_old_pickle(shared_data: Path) -> None:
    npz, pickled = (
        load_tensors(shared_data / "teachers" / f"pointnet_modelnet40.{ending}")
        for ending in ("npz", "t7")
    )
    network = build_model("pointnet", num_classes=40)
    assign_weights(network, npz)
    digest = tensors_digest(network)
    _assert_state(pickled, npz)
    assign_weights(network, pickled)
    assert tensors_digest(network) == digest


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_undone(tmp_path: Path, wrapper: str) -> None:
    _assert_state(load_tensors(_save(tmp_path / "a.pt", {"epoch": 3, wrapper: STATE})))


def test_wrappers_and_prefixes_in_one_another_are_undone(tmp_path: Path) -> None:
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()}
    path = _save(tmp_path / "a.pt", {"model": {"state_dict": OrderedDict(wrapped)}, "epoch": 3})
    _assert_state(load_tensors(path))


def test_a_prefix_that_not_all_names_have_is_a_name(tmp_path: Path) -> None:
    state = {"module.weight": STATE["weight"], "bias": STATE["bias"]}
    _assert_state(load_tensors(_save(tmp_path / "a.pt", state)), state)


@pytest.mark.parametrize("key", ["ema", "deep.er", "dotted.name"])
def test_a_key_leads_to_the_tensors(tmp_path: Path, key: str) -> None:
    content = {"ema": STATE, "deep": {"er": {"model": STATE}}, "dotted.name": STATE}
    _assert_state(load_tensors(_save(tmp_path / "a.pt", content), key=key))


def test_an_unknown_key_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", {"ema": STATE, "epoch": 3})
    with pytest.raises(InvalidInputError, match=r"no entry 'emu'; .* ema \(mapping of 2\), epoch"):
        load_tensors(path, key="emu")


def test_tensors_under_an_unusual_name_are_asked_for(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", {"epoch": 3, "ema": STATE})
    with pytest.raises(InvalidInputError, match=r"'epoch' is int, .*--weights-key; .* ema \(mapp"):
        load_tensors(path)


def _research_checkpoint() -> dict[str, object]:
    return {
        "model": STATE,
        "best_acc": np.float64(0.91),
        "best_loss": np.float32(0.3),
        "epoch": np.int64(7),
        "flag": np.bool_(True),
        "name": np.str_("run 3"),
        "history": np.arange(6.0).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "args": argparse.Namespace(lr=0.1, seeds=[1, 2]),
        "config": types.SimpleNamespace(width=64),
    }


def test_a_checkpoint_with_numpy_values_and_namespaces_is_read(tmp_path: Path) -> None:
    _assert_state(load_tensors(_save(tmp_path / "a.pt", _research_checkpoint())))


def test_a_checkpoint_written_under_numpy_1_is_read(tmp_path: Path) -> None:
    new, old = tmp_path / "new.pt", tmp_path / "old.pt"
    torch.save(_research_checkpoint(), new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.namelist():
            data = source.read(entry)
            target.writestr(entry, data.replace(b"numpy._core.", b"numpy.core."))
            assert not entry.endswith("data.pkl") or b"numpy._core." in data
    _assert_state(load_tensors(old))


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_are_tensors(tmp_path: Path, order: Any) -> None:
    state = {
        "weight": np.array(STATE["weight"].numpy(), order=order),
        "bias": STATE["bias"].numpy(),
    }
    _assert_state(load_tensors(_save(tmp_path / "a.pt", state)))


def test_reading_leaves_nothing_allowed_for_others(tmp_path: Path) -> None:
    before = torch.serialization.get_safe_globals()
    load_tensors(_save(tmp_path / "a.pt", STATE))
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_a_refused_type_is_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", {"model": STATE, "ratio": Fraction(1, 3)})
    with pytest.raises(InvalidInputError, match=r"holds a fractions\.Fraction, .*state_dict alone"):
        load_tensors(path)


def test_a_whole_network_is_refused_by_its_type(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", nn.Linear(3, 2))
    with pytest.raises(InvalidInputError, match=r"holds a torch\.nn\.modules\.linear\.Linear"):
        load_tensors(path)


class _Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [os.system, eval, pickle.loads])
def test_an_attack_is_refused_and_does_not_run(tmp_path: Path, function: Any, zipped: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "a.pt"
    torch.save(
        {"model": _Attack(function, f"touch {marker}")}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(InvalidInputError, match="reading it could run code"):
        load_tensors(path)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_changed_bytes_is_read_or_refused_and_nothing_else(
    tmp_path: Path, zipped: bool
) -> None:
    path, choose = tmp_path / "a.pt", random.Random(0)
    torch.save(_research_checkpoint(), path, _use_new_zipfile_serialization=zipped)
    intact = path.read_bytes()
    for _ in range(200):
        changed = bytearray(intact)
        changed[choose.randrange(len(changed))] = choose.randrange(256)
        path.write_bytes(changed)
        with suppress(InvalidInputError):
            load_tensors(path)


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"model": _Attack(os.system, "true")}, protocol=2))
    with pytest.raises(InvalidInputError):
        load_tensors(path)


def test_numpy_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.pt", {"weight": np.array([{}, {}])})
    with pytest.raises(InvalidInputError, match="dtype 'O8', which is refused"):
        load_tensors(path)
    np.savez(tmp_path / "a.npz", weight=np.array([{}, {}]))
    with pytest.raises(InvalidInputError, match="Object arrays cannot be loaded"):
        load_tensors(tmp_path / "a.npz")


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["model"] = endless
    with pytest.raises(InvalidInputError, match="not a tensor"):
        load_tensors(_save(tmp_path / "a.pt", endless))


@pytest.mark.parametrize("ending", [".pt", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04", b"\x80\x02}q\x00"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"a{ending} (cannot be read|is not)"):
        load_tensors(path)


@pytest.mark.parametrize("ending", [".pt", ".npz", ".safetensors"])
def test_a_torn_file_is_refused(tmp_path: Path, ending: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"a{ending}"
    if ending == ".pt":
        torch.save(STATE, path)
    elif ending == ".npz":
        np.savez(path, weight=STATE["weight"].numpy())
    else:
        save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_tensors(path)


@pytest.mark.parametrize(
    "content", [3, [1, 2], {}, torch.zeros(2), {"a": "text"}, {1: STATE["bias"]}]
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(InvalidInputError, match=r"where named tensors should be|not a tensor"):
        load_tensors(_save(tmp_path / "a.pt", content))


def test_an_unknown_ending_is_refused_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(InvalidInputError, match=r"must end in \.safetensors, .*got a\.onnx"):
        load_tensors(tmp_path / "a.onnx")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*absent\.pt"):
        load_tensors(tmp_path / "absent.pt")


def test_missing_and_unexpected_tensors_are_named() -> None:
    tensors = {"weight": STATE["weight"], **{f"extra{n}": STATE["bias"] for n in range(6)}}
    with pytest.raises(
        InvalidInputError,
        match=r"Linear: tensors 1 missing \(bias\), 6 unexpected \(extra0, .*, and 2 more\)",
    ):
        assign_weights(nn.Linear(3, 2), tensors)


def test_one_array_without_a_name_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, STATE["weight"].numpy())
    with pytest.raises(InvalidInputError, match="one array without a name"):
        load_tensors(tmp_path / "a.npz")


def test_an_npz_of_text_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", names=np.array(["bias", "weight"]))
    with pytest.raises(InvalidInputError, match="'names' is numpy array of <U6, not a tensor"):
        load_tensors(tmp_path / "a.npz")


def test_a_shape_that_differs_is_named() -> None:
    with pytest.raises(
        InvalidInputError, match=r"weight is \(2, 3\) in the file and \(5, 3\) in th"
    ):
        assign_weights(nn.Linear(3, 5), STATE)


def test_a_checkpoint_from_before_batches_were_counted_fits() -> None:
    norm = nn.BatchNorm1d(3)
    old = {name: t for name, t in norm.state_dict().items() if name != "num_batches_tracked"}
    assign_weights(norm, old)


def test_the_digest_is_of_names_types_shapes_and_bytes() -> None:
    # Written out, because it stands in the plan of every recording.
    linear = nn.Linear(3, 2)
    assign_weights(linear, STATE)
    written = b'["bias", "float32", [2]]\n' + struct.pack("<2f", 0.5, -0.5)
    written += b'["weight", "float32", [2, 3]]\n' + struct.pack("<6f", 0, 1, 2, 3, 4, 5)
    assert tensors_digest(linear) == hashlib.sha256(written).hexdigest()


def _scaled(linear: nn.Linear) -> None:
    linear.weight.data[0, 0] += 1


def _reshaped(linear: nn.Linear) -> None:
    linear.weight.data = linear.weight.data.reshape(3, 2)


def _renamed(linear: nn.Linear) -> None:
    linear.register_parameter("offset", linear.bias)
    del linear.bias


@pytest.mark.parametrize("change", [_scaled, _reshaped, _renamed, nn.Linear.double])
def test_the_digest_changes_with_the_network(change: Any) -> None:
    linear = nn.Linear(3, 2)
    before = tensors_digest(linear)
    change(linear)
    assert tensors_digest(linear) != before


def test_the_digest_does_not_depend_on_memory_order() -> None:
    linear = nn.Linear(3, 2)
    before = tensors_digest(linear)
    linear.weight.data = linear.weight.data.t().contiguous().t()
    assert tensors_digest(linear) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_network_of_small_numbers_has_a_digest(dtype: torch.dtype) -> None:
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.arange(6).reshape(2, 3).to(dtype)
    before = tensors_digest(linear)
    linear.weight.data = torch.tensor([[0.0, 1, 2], [3, 4, 7]]).to(dtype)
    assert tensors_digest(linear) != before


class _WithExtraState(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        del state


def test_a_network_with_more_than_tensors_has_no_digest() -> None:
    with pytest.raises(InvalidInputError, match=r"'_extra_state' is not a plain tensor") as caught:
        tensors_digest(_WithExtraState(3, 2))
    assert caught.value.kind is ErrorKind.UNSUITABLE_TEACHER
