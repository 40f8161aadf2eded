import subprocess
import sys

import pytest

import kdrec.api
from kdrec.errors import ErrorKind, InvalidInputError

_PROGRAM = """
import sys
import kdrec.api
loaded = {"fastapi", "starlette", "uvicorn", "torch", "kdrec.client"} & sys.modules.keys()
assert not loaded, loaded
kdrec.api.create_app
assert "fastapi" in sys.modules
assert "torch" not in sys.modules and "kdrec.client" not in sys.modules
"""
_WITHOUT_WEB = """
import sys
sys.modules["fastapi"] = None
import kdrec.api
from kdrec.errors import InvalidInputError
try:
    kdrec.api.serve
except InvalidInputError as error:
    print(error.kind, error)
"""


def _run(program: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_public_is_pinned() -> None:
    assert kdrec.api.__all__ == [
        "TOKEN_BYTES",
        "LogFormat",
        "ServiceSettings",
        "TokenEntry",
        "TokenFile",
        "create_app",
        "make_token",
        "serve",
    ]
    assert all(hasattr(kdrec.api, name) for name in kdrec.api.__all__)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kdrec.api.nothing


def test_importing_it_loads_no_web_framework_and_using_it_no_torch() -> None:
    _run(_PROGRAM)


def test_a_missing_web_framework_is_named_with_its_remedy() -> None:
    said = _run(_WITHOUT_WEB)
    assert said.startswith(ErrorKind.MISSING_DEPENDENCY)
    assert "needs fastapi" in said
    assert "pip install 'kdrec[serve]'" in said
    assert issubclass(InvalidInputError, ValueError)
