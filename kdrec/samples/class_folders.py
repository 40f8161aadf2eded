"""Samples from folders of one file a shape, a folder for each class: meshes, or points as text.

`ROOT/CLASS/*.off|ply|stl`, also with a folder between such as `CLASS/train/` (ModelNet40), and
`ROOT/CLASS/*.txt` (modelnet40_normal_resampled: x,y,z,nx,ny,nz a line). Two per-sample fields are
made of the names: `file_name`, and `file`, which is `train` or `test` where the folder between is
called so, or where a list of names beside the classes says so (`modelnet40_train.txt`).

Shape letters: S samples, N points, D channels.
"""

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec import rng
from kdrec.augment import default_channels
from kdrec.errors import ErrorKind, InvalidInputError
from kdrec.samples.contents import AnyArray, Arguments, Contents
from kdrec.samples.room import make_room
from kdrec.samples.sample_set import Points, SampleSet
from kdrec.samples.split import Split, split_rows

_MESHES = (".off", ".ply", ".stl")
_TEXTS = (".txt",)
_STREAM = 0xF6
_DEFAULT_POINTS = 2048
_ROLES = ("train", "test", "val")


@dataclass(frozen=True, slots=True)
class _Shape:
    """One file, and what its place and name say."""

    path: Path
    class_name: str
    role: str


class ClassFoldersSource:
    """Folders of meshes or of text files; asked before HDF5, which takes any other folder."""

    usage = "a folder of CLASS/*.off|ply|stl meshes or CLASS/*.txt points"

    def accepts(self, source: str) -> bool:
        """Whether a folder in the folder holds such files; no more names are read than needed."""
        root = Path(source)
        return bool(source) and root.is_dir() and _find_ending(root) is not None

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        """The files in the order of class and name, read when the samples are asked for."""
        root = Path(source)
        shapes = _list_shapes(root, _find_ending(root) or "")
        classes = tuple(sorted({shape.class_name for shape in shapes}))
        fields = _fields(shapes, classes)
        if split is not None and split.field in fields:
            rows = split_rows(fields[split.field](), split)
            shapes = [shapes[row] for row in rows]
            fields = _fields(shapes, classes)
        elif len({shape.role for shape in shapes} & set(_ROLES)) > 1:
            raise InvalidInputError(
                f"{source} holds shapes of train and test, which are not meant to be one data set; "
                "choose by a split: file=train or file=test"
            )
        return Contents(partial(_read, shapes, classes, arguments), fields)


def _find_ending(root: Path) -> str | None:
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for path in _files(folder):
            if path.suffix.lower() in (*_MESHES, *_TEXTS):
                return path.suffix.lower()
    return None


def _files(folder: Path) -> Sequence[Path]:
    below = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return [path for each in below for path in sorted(each.iterdir()) if path.is_file()]


def _list_shapes(root: Path, ending: str) -> list[_Shape]:
    wanted = _TEXTS if ending in _TEXTS else _MESHES
    listed = _listed_roles(root)
    return [
        _Shape(path, folder.name, listed.get(path.stem) or _role(path.parent, folder))
        for folder in sorted(path for path in root.iterdir() if path.is_dir())
        for path in _files(folder)
        if path.suffix.lower() in wanted
    ]


def _role(parent: Path, folder: Path) -> str:
    return "" if parent == folder else parent.name


def _listed_roles(root: Path) -> dict[str, str]:
    """Which split each name is in, by the lists beside the classes: `modelnet40_train.txt`."""
    return {
        name.strip(): role
        for role in _ROLES
        for path in sorted(root.glob(f"*_{role}.txt"))
        for name in path.read_text(encoding="utf-8").splitlines()
    }


def _fields(
    shapes: Sequence[_Shape], classes: tuple[str, ...]
) -> dict[str, Callable[[], AnyArray]]:
    return {
        "label": partial(np.array, [classes.index(shape.class_name) for shape in shapes]),
        "class_names": partial(np.array, classes),
        "file": partial(np.array, [shape.role for shape in shapes]),
        "file_name": partial(np.array, [shape.path.name for shape in shapes]),
    }


def _read(shapes: Sequence[_Shape], classes: tuple[str, ...], arguments: Arguments) -> SampleSet:
    meshes = shapes[0].path.suffix.lower() in _MESHES
    read = _mesh_reader(arguments) if meshes else _text_reader(arguments)
    first_ND = read(shapes[0].path)
    points_SND: Points = make_room((len(shapes), *first_ND.shape), np.float32)
    for place, shape in enumerate(shapes):
        points_ND = read(shape.path)
        if points_ND.shape != first_ND.shape:
            raise InvalidInputError(
                f"{shape.path} holds points of shape {points_ND.shape}, {shapes[0].path.name} "
                f"{first_ND.shape}; keep files of one shape in a folder"
            )
        points_SND[place] = points_ND
    return SampleSet(
        points_SND,
        default_channels(points_SND.shape[2]),
        labels_S=np.array([classes.index(shape.class_name) for shape in shapes], dtype=np.int64),
        class_names=classes,
        names=tuple(shape.path.stem for shape in shapes),
    )


def _text_reader(arguments: Arguments) -> Callable[[Path], Points]:
    if arguments:
        raise InvalidInputError(
            f"text files are read as they are and take no arguments, got {', '.join(arguments)}; "
            "leave them out"
        )
    return _read_text


def _read_text(path: Path) -> Points:
    try:
        with path.open(encoding="utf-8") as lines:
            filled = [line for line in lines if line.strip()]
        # numpy warns of no lines, where an error is meant.
        values = np.loadtxt(filled or ["0"], delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is no table of points ({error}); write numbers with commas between, a point "
            "a line"
        ) from error
    if values.shape[1] < 3:
        raise InvalidInputError(f"{path} must hold x,y,z a line, got shape {values.shape}")
    return values


def _mesh_reader(arguments: Arguments) -> Callable[[Path], Points]:
    known = {"points": _DEFAULT_POINTS, "seed": 0}
    unknown = set(arguments) - set(known)
    if unknown:
        raise InvalidInputError(
            f"meshes take the arguments {', '.join(known)}, got {', '.join(sorted(unknown))}"
        )
    chosen = known | {name: int(value) for name, value in arguments.items()}
    if chosen["points"] < 1 or chosen["seed"] < 0:
        raise InvalidInputError(f"points must be at least 1 and seed at least 0, got {chosen}")
    trimesh = _import_trimesh()
    points, seed = chosen["points"], chosen["seed"]
    return lambda path: _sample_mesh(path, trimesh=trimesh, points=points, seed=seed)


def _sample_mesh(path: Path, *, trimesh: Any, points: int, seed: int) -> Points:
    """Points evenly over the surface, the same for the same file, centred in the unit sphere."""
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
        triangles_F33 = np.asarray(mesh.triangles, dtype=np.float64)
    except Exception as error:  # trimesh's readers raise whatever they meet
        raise InvalidInputError(f"{path} is no readable mesh ({error}); write it anew") from error
    if len(triangles_F33) == 0 or not np.isfinite(triangles_F33).all():
        raise InvalidInputError(f"{path} has no surface of finite triangles; write it anew")
    return _centred(_points_on(triangles_F33, path, points=points, seed=seed))


def _points_on(
    triangles_F33: npt.NDArray[np.float64], path: Path, *, points: int, seed: int
) -> npt.NDArray[np.float64]:
    # Not trimesh's own sampling: what is drawn is part of the data's identity and must not change
    # with a version of somebody else's code. Keyed by the name, so that no file moves another.
    sides_F23 = triangles_F33[:, 1:] - triangles_F33[:, :1]
    area_F = np.linalg.norm(np.cross(sides_F23[:, 0], sides_F23[:, 1]), axis=1)
    if area_F.sum() == 0:
        raise InvalidInputError(f"{path} has a surface of area 0; write it anew")
    number = int.from_bytes(hashlib.blake2b(path.stem.encode(), digest_size=5).digest())
    words = rng.words(seed, view=0, stream=_STREAM, samples_B=[number], num_words=3 * points)
    u_N, v_N, w_N = rng.uniform(words)[0].reshape(3, points)
    chosen_N = np.searchsorted(np.cumsum(area_F), u_N * area_F.sum(), side="right")
    chosen_N = np.minimum(chosen_N, len(area_F) - 1)
    outside_N = v_N + w_N > 1  # fold the far half of the parallelogram onto the triangle
    v_N, w_N = np.where(outside_N, 1 - v_N, v_N), np.where(outside_N, 1 - w_N, w_N)
    first_N3, sides_N23 = triangles_F33[chosen_N, 0], sides_F23[chosen_N]
    return np.asarray(first_N3 + v_N[:, None] * sides_N23[:, 0] + w_N[:, None] * sides_N23[:, 1])


def _centred(points_N3: npt.NDArray[np.float64]) -> Points:
    centred_N3 = points_N3 - points_N3.mean(axis=0)
    radius = np.linalg.norm(centred_N3, axis=1).max()
    scaled_N3: Points = (centred_N3 / (radius or 1.0)).astype(np.float32)
    return scaled_N3


def _import_trimesh() -> Any:
    try:
        return importlib.import_module("trimesh")
    except ImportError as error:
        raise InvalidInputError(
            "reading meshes needs trimesh, which is not installed; run `pip install kdrec[meshes]`",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error
