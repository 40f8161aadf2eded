"""`kdrec serve`."""

from pathlib import Path
from typing import Annotated

import typer

from kdrec.cli.terminal import say


def serve(
    folder: Annotated[Path, typer.Argument(help="Folder that holds recordings, or a recording.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8080,
    tokens: Annotated[
        Path | None,
        typer.Option(
            envvar="KDREC_SERVE_TOKENS",
            help="File of token hashes, see `kdrec token`: only who has a token may read.",
        ),
    ] = None,
    accel_prefix: Annotated[
        str | None,
        typer.Option(
            envvar="KDREC_SERVE_ACCEL_PREFIX",
            help="nginx is in front and sends the files: its internal location, /internal/.",
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines ask, without any token.")
    ] = False,
) -> None:
    """Serve recordings over HTTP until Ctrl-C; OpenAPI at /docs."""
    from kdrec.api import ServiceSettings
    from kdrec.api import serve as run

    settings = ServiceSettings(
        root=folder, host=host, port=port, tokens=tokens, public=public, accel_prefix=accel_prefix
    )
    run(settings, on_ready=_announce)


def _announce(url: str) -> None:
    # On stdout and at once: a program that starts the service reads the address there.
    typer.echo(url)
    say(f"serving at {url}/v1/recordings, documentation at {url}/docs; Ctrl-C stops")
