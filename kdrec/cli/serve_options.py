"""The options of `kdrec serve`; each has a variable KDREC_SERVE_... of the same name."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kdrec.api import LogFormat

_ACCESS, _LIMITS, _OPERATIONS = "Who may read", "Limits of each worker", "Operations"


def _of(name: str) -> dict[str, Any]:
    return {"envvar": f"KDREC_SERVE_{name}"}


Root = Annotated[
    str,
    typer.Argument(
        help="Folder that holds recordings, or a recording; or s3://BUCKET/FOLDER, gs://, az://.",
        **_of("FOLDER"),
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on.", **_of("HOST"))]
Port = Annotated[int, typer.Option(help="0 takes a free one.", **_of("PORT"))]
Workers = Annotated[int, typer.Option(help="Processes that answer.", **_of("WORKERS"))]
AccelPrefix = Annotated[
    str | None,
    typer.Option(
        help="nginx is in front and sends the files: its internal location, /internal/.",
        **_of("ACCEL_PREFIX"),
    ),
]
Tokens = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_ACCESS,
        help="File of token hashes, see `kdrec token`: only who has a token may read.",
        **_of("TOKENS"),
    ),
]
Public = Annotated[
    bool,
    typer.Option(
        "--public",
        rich_help_panel=_ACCESS,
        help="Let other machines ask, without any token.",
        **_of("PUBLIC"),
    ),
]
TrustedProxies = Annotated[
    str,
    typer.Option(
        rich_help_panel=_ACCESS,
        metavar="ADDRESS,...",
        help="Addresses or networks whose X-Forwarded-For is believed.",
        **_of("TRUSTED_PROXIES"),
    ),
]
MaxRequests = Annotated[
    int, typer.Option(rich_help_panel=_LIMITS, help="Under way at once.", **_of("MAX_REQUESTS"))
]
MaxBytes = Annotated[
    int,
    typer.Option(rich_help_panel=_LIMITS, help="Of answers in memory at once.", **_of("MAX_BYTES")),
]
MaxHeaderBytes = Annotated[
    int, typer.Option(rich_help_panel=_LIMITS, help="Of a request.", **_of("MAX_HEADER_BYTES"))
]
ShutdownSeconds = Annotated[
    int,
    typer.Option(
        rich_help_panel=_LIMITS,
        help="A stop waits so long for answers under way.",
        **_of("SHUTDOWN_SECONDS"),
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=_OPERATIONS,
        help="Offer metrics for Prometheus on a port of their own.",
        **_of("METRICS_PORT"),
    ),
]
MetricsHost = Annotated[str, typer.Option(rich_help_panel=_OPERATIONS, **_of("METRICS_HOST"))]
LogLines = Annotated[
    LogFormat, typer.Option(rich_help_panel=_OPERATIONS, help="Of stderr.", **_of("LOG_FORMAT"))
]
AccessLog = Annotated[
    bool,
    typer.Option(
        rich_help_panel=_OPERATIONS, help="A line for every request.", **_of("ACCESS_LOG")
    ),
]
