"""Promise 7: nothing that is read can execute."""

import ast
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kdrec
from kdrec.client import open_recording
from kdrec.errors import InvalidInputError, KdrecError
from kdrec.recorder import TeacherOptions, load_teacher, load_tensors
from kdrec.samples import load_samples, make_shapes
from kdrec.store.arrays import decode_files
from kdrec.student import load_student
from kdrec.testing import make_plan, make_recording

SOURCES = sorted(Path(kdrec.__path__[0]).rglob("*.py"))
UNPICKLERS = {
    "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle",
    "shelve", "yaml",
}  # fmt: skip
RUNNING = {"eval", "exec", "compile", "__import__"}
LOADING = {"jit.load", "hub.load", "package.PackageImporter", "read_pickle", "load_module"}


def findings(source: str) -> Iterator[str]:
    """What of a program could make data run."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in UNPICKLERS:
                yield f"line {node.lineno}: from {module} import"
            case ast.Import(names=names):
                found = {alias.name.partition(".")[0] for alias in names} & UNPICKLERS
                # The exception's name is needed to catch it; using more of pickle is found below.
                yield from (f"line {node.lineno}: import {name}" for name in found - {"pickle"})
            case ast.Attribute(value=ast.Name(id="pickle"), attr=attribute):
                if attribute != "UnpicklingError":
                    yield f"line {node.lineno}: pickle.{attribute}"
            case ast.Call():
                yield from _call_findings(node)


def _call_findings(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in RUNNING or any(name.endswith(ending) for ending in LOADING):
        yield f"line {call.lineno}: {name}()"
    if name == "torch.load" and not _is(given.get("weights_only"), constant=True):
        yield f"line {call.lineno}: torch.load() without weights_only=True"
    if "allow_pickle" in given and not _is(given["allow_pickle"], constant=False):
        yield f"line {call.lineno}: {name}() with allow_pickle"


def _is(node: ast.expr | None, *, constant: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is constant


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(kdrec.__path__[0]).as_posix())
def test_no_source_can_make_data_run(path: Path) -> None:
    assert list(findings(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import dill",
        "from joblib import load",
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "eval(text)",
        "exec(compile(text, '', 'exec'))",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "torch.jit.load(path)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert list(findings(source)) != []


@pytest.mark.parametrize(
    "source",
    ["import pickle\ntry: ...\nexcept pickle.UnpicklingError: ...", "model.eval()",
     "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "np.load(path)"],
)  # fmt: skip
def test_the_search_lets_pass_what_is_safe(source: str) -> None:
    assert list(findings(source)) == []


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._marker),)


def objects(attack: Attack) -> np.ndarray:
    """An array that numpy can only write, and read, as a pickle."""
    return np.array([attack, attack], dtype=object)


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    """It works: whoever unpickles it runs it."""
    attack, marker = Attack(tmp_path / "ran"), tmp_path / "ran"
    pickle.loads(pickle.dumps(attack))
    assert marker.exists()
    marker.rmdir()
    np.savez(tmp_path / "proof.npz", attack=objects(attack))
    with suppress(FileExistsError), np.load(tmp_path / "proof.npz", allow_pickle=True) as arrays:
        arrays["attack"]
    assert marker.exists()
    marker.rmdir()
    return attack


@pytest.mark.parametrize("key", [None, "model"])
@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.bin", "w.tar", "w.t7"])
@pytest.mark.parametrize("kind", ["zip", "old", "bare"])
def test_weights_that_would_run_are_refused(
    tmp_path: Path, attack: Attack, kind: str, name: str, key: str | None
) -> None:
    path, content = tmp_path / name, {"model": {"weight": torch.zeros(2)}, "epoch": attack}
    if kind == "bare":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(InvalidInputError):
        load_tensors(path, key=key)
    with pytest.raises(InvalidInputError):
        load_teacher(TeacherOptions(factory="pointnet-s", weights=path, weights_key=key))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.pt"])
def test_weights_with_an_object_array_are_refused(
    tmp_path: Path, attack: Attack, name: str
) -> None:
    np.savez(tmp_path / "w.npz", weight=np.zeros(2, np.float32), more=objects(attack))
    if name != "w.npz":
        shutil.move(tmp_path / "w.npz", tmp_path / name)
    with pytest.raises(InvalidInputError):
        load_tensors(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("field", ["xyz", "label", "class_names"])
def test_samples_with_an_object_array_are_refused(
    tmp_path: Path, attack: Attack, field: str
) -> None:
    arrays: dict[str, Any] = {
        "xyz": np.zeros((2, 8, 3), np.float32),
        "label": np.zeros(2, np.int64),
        "class_names": np.array(["a", "b"]),
    }
    np.savez(tmp_path / "d.npz", **(arrays | {field: objects(attack)}))
    with pytest.raises(InvalidInputError, match="Python objects"):
        load_samples(str(tmp_path / "d.npz"))
    assert not (tmp_path / "ran").exists()


def test_no_file_of_a_recording_runs(tmp_path: Path, attack: Attack) -> None:
    path, samples = tmp_path / "r.zarr", make_shapes(4, seed=0, num_points=8)
    make_recording(path, samples, plan=make_plan(samples, views=2))
    malicious = pickle.dumps(attack)
    for file in sorted(path.rglob("*")):
        if file.is_dir():
            continue
        intact = file.read_bytes()
        file.write_bytes(malicious)
        with suppress(KdrecError):
            recording = open_recording(path)
            recording.read(0)
            recording.check(recording.samples())
        assert not (tmp_path / "ran").exists(), file
        file.write_bytes(intact)


def test_a_codec_that_unpickles_is_not_reached(tmp_path: Path, attack: Attack) -> None:
    """A forger can make all digests agree, and numcodecs has a codec that unpickles."""
    make_recording(tmp_path / "r.zarr")
    metadata = json.loads((tmp_path / "r.zarr/samples/points/zarr.json").read_text())
    metadata["codecs"] = [{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]
    shard = {"c/0/0/0": pickle.dumps(attack)}
    with pytest.raises(KdrecError):
        decode_files(json.dumps(metadata).encode(), shard, where="samples/points", remedy="")
    assert not (tmp_path / "ran").exists()


def test_a_student_that_is_a_pickle_is_refused(tmp_path: Path, attack: Attack) -> None:
    buffer = io.BytesIO()
    torch.save({"model": attack}, buffer)
    (tmp_path / "best.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(KdrecError):
        load_student(tmp_path)
    assert not (tmp_path / "ran").exists()
