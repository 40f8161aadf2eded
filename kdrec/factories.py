"""Objects named on a command line: `package.module:factory` or `path/to/file.py:factory`.

The folder of a file named so becomes importable, because research code imports its neighbours.
The code that is named runs: name only code that you trust. Nothing *read* from a recording ever
reaches this module.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from kdrec.errors import InvalidInputError, KdrecError, NotFoundError, StorageError

Factory = Callable[..., Any]

_folders: set[Path] = set()
"""Of the files named so far; like `sys.path` and `sys.modules`, one for the process."""


def is_factory(text: str) -> bool:
    """Whether the text has the form `package.module:factory` or `file.py:factory`."""
    module, colon, name = text.rpartition(":")
    return bool(colon) and name.isidentifier() and bool(module) and "//" not in module


def load_factory(text: str) -> Factory:
    """Import the callable that the text names.

    Raises:
        InvalidInputError: The text has another form, what it names cannot be imported or called, or
            its folder has a module of the same name as that of a file named before.
        NotFoundError: No such file, module or name.
    """
    if not is_factory(text):
        raise InvalidInputError(
            f"{text!r} does not name a factory; write package.module:factory or file.py:factory"
        )
    location, _, name = text.rpartition(":")
    with _named_failures(f"importing {location}"):
        is_file = location.endswith(".py")
        module = _import_file(Path(location)) if is_file else _import_name(location)
    found = getattr(module, name, None)
    if found is None:
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise NotFoundError(f"{location} has no {name!r}; it has: {', '.join(public) or 'nothing'}")
    if not callable(found):
        raise InvalidInputError(f"{text} is a {type(found).__name__}, not something to call")
    factory: Factory = found
    return factory


def call_factory(text: str, arguments: Mapping[str, object]) -> Any:
    """Call the named factory; a wrong argument is the user's error, not ours.

    Raises:
        InvalidInputError: It does not take these arguments, or fails.
        StorageError: It cannot read what it needs.
    """
    factory = load_factory(text)
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items()) or "no arguments"
    with _named_failures(f"calling {text} with {given}"):
        return factory(**arguments)


@contextmanager
def _named_failures(doing: str) -> Iterator[None]:
    """Whatever goes wrong in code of the user's is said to be in it."""
    try:
        yield
    except (KdrecError, MemoryError):
        raise
    except OSError as error:
        raise StorageError(
            f"{doing} failed: {type(error).__name__}: {error}; correct the path, or try again"
        ) from error
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU that others use too
            raise
        raise InvalidInputError(
            f"{doing} failed: {type(error).__name__}: {error}; correct the code or its arguments, "
            "or install what it needs"
        ) from error


def parse_arguments(pairs: list[str]) -> dict[str, int | float | bool | str]:
    """`key=value` pairs of a command line; numbers, true and false are recognised.

    Raises:
        InvalidInputError: A pair has no `=`, or a key is given twice.
    """
    arguments: dict[str, int | float | bool | str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InvalidInputError(f"{pair!r} is not an argument; write name=value")
        if key in arguments:
            raise InvalidInputError(f"argument {key!r} is given twice; give it once")
        arguments[key] = _parse_value(value)
    return arguments


def _parse_value(text: str) -> int | float | bool | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotFoundError(f"no file {path}; give the path of a Python file before the colon")
    folder = path.resolve().parent
    _check_neighbours(path, folder)
    _folders.add(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _check_neighbours(path: Path, folder: Path) -> None:
    """Refuse what would silently import another folder's module instead of that beside it."""
    others = _folders - {folder}
    if not others:
        return
    for name in sorted(_imported_neighbours(path, folder) & sys.modules.keys() - {path.stem}):
        elsewhere = _folder_of(sys.modules[name])
        if elsewhere in others:
            raise InvalidInputError(
                f"{path} would import {name!r} from {elsewhere}, from where it was loaded already, "
                "not from its own folder; rename one of the two, or write one network to an ONNX "
                "file by kdrec export"
            )


def _imported_neighbours(path: Path, folder: Path) -> set[str]:
    """The modules of a folder that a file imports, at once or later, or that these import."""
    found: set[str] = set()
    to_read = [path]
    while to_read:
        for name in _imported_names(to_read.pop()) - found:
            files = [folder / f"{name}.py", *(folder / name).rglob("*.py")]
            here = [file for file in files if file.is_file()]
            to_read += here
            found |= {name} if here else set()
    return found


def _imported_names(path: Path) -> set[str]:
    """First parts of the absolute imports that stand in a file; none where it is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):  # importing it tells
        return set()
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    whole += [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    return {name.partition(".")[0] for name in whole}


def _folder_of(module: ModuleType) -> Path | None:
    """From where it can be imported."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    found = [Path(place).resolve() for place in places if place is not None]
    if not found:
        return None
    return found[0].parent.parent if found[0].name == "__init__.py" else found[0].parent


def _import_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            raise NotFoundError(
                f"no module {name!r}; install it, or name a file: path/to/file.py:factory"
            ) from error
        raise
