"""The HTTP service over a folder of recordings.

The web framework is loaded with the first use of `create_app` or `serve`, not by the import.
"""

from typing import TYPE_CHECKING, Any

from kdrec.api.settings import LogFormat, ServiceSettings
from kdrec.api.token_file import TokenFile
from kdrec.api.tokens import TOKEN_BYTES, TokenEntry, make_token
from kdrec.errors import ErrorKind, InvalidInputError

if TYPE_CHECKING:
    from kdrec.api.app import create_app
    from kdrec.api.server import serve

__all__ = [
    "TOKEN_BYTES",
    "LogFormat",
    "ServiceSettings",
    "TokenEntry",
    "TokenFile",
    "create_app",
    "make_token",
    "serve",
]

_WEB_FRAMEWORK = frozenset(
    {
        "anyio",
        "fastapi",
        "httptools",
        "prometheus_client",
        "pythonjsonlogger",
        "starlette",
        "uvicorn",
    }
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from kdrec.api import app, server
    except ModuleNotFoundError as error:
        if error.name not in _WEB_FRAMEWORK:
            raise
        raise InvalidInputError(
            f"the service needs {error.name}, which is not installed; pip install 'kdrec[serve]'",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error
    return {"create_app": app.create_app, "serve": server.serve}[name]
