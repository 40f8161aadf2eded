"""`kdrec serve`."""

from pathlib import Path
from typing import Annotated

import typer

from kdrec.api import LogFormat
from kdrec.cli.options import Config
from kdrec.cli.terminal import say

_ACCESS, _LIMITS, _OPERATIONS = "Who may read", "Limits of each worker", "Operations"


def _variable(name: str) -> str:
    return f"KDREC_SERVE_{name}"


def serve(
    folder: Annotated[
        Path,
        typer.Argument(
            envvar=_variable("FOLDER"), help="Folder that holds recordings, or a recording."
        ),
    ],
    host: Annotated[
        str, typer.Option(envvar=_variable("HOST"), help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar=_variable("PORT"), help="0 takes a free one.")
    ] = 8080,
    workers: Annotated[
        int, typer.Option(envvar=_variable("WORKERS"), help="Processes that answer.")
    ] = 1,
    accel_prefix: Annotated[
        str | None,
        typer.Option(
            envvar=_variable("ACCEL_PREFIX"),
            help="nginx is in front and sends the files: its internal location, /internal/.",
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            envvar=_variable("TOKENS"), rich_help_panel=_ACCESS,
            help="File of token hashes, see `kdrec token`: only who has a token may read.",
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", envvar=_variable("PUBLIC"), rich_help_panel=_ACCESS,
            help="Let other machines ask, without any token.",
        ),
    ] = False,
    trusted_proxies: Annotated[
        str,
        typer.Option(
            envvar=_variable("TRUSTED_PROXIES"), rich_help_panel=_ACCESS, metavar="ADDRESS,...",
            help="Addresses or networks whose X-Forwarded-For is believed.",
        ),
    ] = "",
    max_requests: Annotated[
        int,
        typer.Option(
            envvar=_variable("MAX_REQUESTS"), rich_help_panel=_LIMITS, help="Under way at once."
        ),
    ] = 1000,
    max_bytes: Annotated[
        int,
        typer.Option(
            envvar=_variable("MAX_BYTES"), rich_help_panel=_LIMITS,
            help="Of answers in memory at once.",
        ),
    ] = 256 * 2**20,
    max_header_bytes: Annotated[
        int,
        typer.Option(
            envvar=_variable("MAX_HEADER_BYTES"), rich_help_panel=_LIMITS, help="Of a request."
        ),
    ] = 32 * 1024,
    shutdown_seconds: Annotated[
        int,
        typer.Option(
            envvar=_variable("SHUTDOWN_SECONDS"), rich_help_panel=_LIMITS,
            help="A stop waits so long for answers under way.",
        ),
    ] = 10,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar=_variable("METRICS_PORT"), rich_help_panel=_OPERATIONS,
            help="Offer metrics for Prometheus on a port of their own.",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(envvar=_variable("METRICS_HOST"), rich_help_panel=_OPERATIONS)
    ] = "127.0.0.1",
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar=_variable("LOG_FORMAT"), rich_help_panel=_OPERATIONS, help="Of stderr."
        ),
    ] = LogFormat.TEXT,
    access_log: Annotated[
        bool,
        typer.Option(
            envvar=_variable("ACCESS_LOG"), rich_help_panel=_OPERATIONS,
            help="A line for every request.",
        ),
    ] = True,
    config: Config = None,
) -> None:  # fmt: skip
    """Serve recordings over HTTP until Ctrl-C; OpenAPI at /docs.

    The command line wins over KDREC_SERVE_... in the environment, that over --config.
    """
    from kdrec.api import ServiceSettings
    from kdrec.api import serve as run

    settings = ServiceSettings(
        root=folder,
        host=host,
        port=port,
        workers=workers,
        tokens=tokens,
        public=public,
        accel_prefix=accel_prefix,
        trusted_proxies=tuple(part.strip() for part in trusted_proxies.split(",") if part.strip()),
        max_requests=max_requests,
        max_bytes=max_bytes,
        max_header_bytes=max_header_bytes,
        shutdown_seconds=shutdown_seconds,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        log_format=log_format,
        access_log=access_log,
    )
    run(settings, on_ready=_announce)


def _announce(url: str) -> None:
    # On stdout and at once: a program that starts the service reads the address there.
    typer.echo(url)
    say(f"serving at {url}/v1/recordings, documentation at {url}/docs; Ctrl-C stops")
