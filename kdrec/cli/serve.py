"""`kdrec serve`."""

from pathlib import Path

import typer

from kdrec.api import LogFormat
from kdrec.cli import serve_options as option
from kdrec.cli.options import Config
from kdrec.cli.terminal import say
from kdrec.store import is_object_address


def serve(
    folder: option.Root,
    host: option.Host = "127.0.0.1",
    port: option.Port = 8080,
    workers: option.Workers = 1,
    accel_prefix: option.AccelPrefix = None,
    tokens: option.Tokens = None,
    public: option.Public = False,
    trusted_proxies: option.TrustedProxies = "",
    max_requests: option.MaxRequests = 1000,
    max_bytes: option.MaxBytes = 256 * 2**20,
    max_header_bytes: option.MaxHeaderBytes = 32 * 1024,
    shutdown_seconds: option.ShutdownSeconds = 10,
    metrics_port: option.MetricsPort = None,
    metrics_host: option.MetricsHost = "127.0.0.1",
    log_format: option.LogLines = LogFormat.TEXT,
    access_log: option.AccessLog = True,
    config: Config = None,
) -> None:
    """Serve recordings over HTTP until Ctrl-C; OpenAPI at /docs.

    The command line wins over KDREC_SERVE_... in the environment, that over --config.
    """
    from kdrec.api import ServiceSettings
    from kdrec.api import serve as run

    settings = ServiceSettings(
        root=folder if is_object_address(folder) else Path(folder),
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
