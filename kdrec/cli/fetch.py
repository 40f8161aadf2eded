"""`kdrec fetch`."""

from pathlib import Path
from typing import Annotated

import typer

from kdrec.cli.options import Json, Token, parse_views
from kdrec.cli.terminal import progress_bar, show_json, show_rows, size
from kdrec.client import fetch as run
from kdrec.client import is_address, open_recording
from kdrec.errors import InvalidInputError


def fetch(
    url: Annotated[
        str, typer.Argument(help="http(s)://HOST/v1/recordings/NAME, or s3://BUCKET/NAME.zarr.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of the copy: NAME.zarr.")],
    views: Annotated[
        str | None,
        typer.Option(metavar="FIRST:END", help="Only the view groups that hold these: 0:8."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on while it is recorded, until all of it is here."),
    ] = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Copy a remote recording, or some of its views; the same command resumes."""
    if not is_address(url):
        raise InvalidInputError(f"{url} is no address; copy a local recording with cp -r")
    with progress_bar("fetching", "files") as bar:
        for progress in run(url, folder, views=parse_views(views), token=token, follow=follow):
            bar.update(progress.done, progress.total, size(progress.num_bytes))
    copy = open_recording(folder)
    here, total = copy.progress()
    if as_json:
        show_json(
            {
                "recording": str(folder),
                "identity": copy.identity,
                "files": progress.done,
                "bytes": progress.num_bytes,
                "blocks": {"here": here, "total": total},
            }
        )
        return
    show_rows(
        {
            "recording": str(folder),
            "identity": copy.identity or "none: it is still being recorded; fetch again for more",
            "fetched": f"{progress.done} files, {size(progress.num_bytes)}",
            "blocks": f"{here} of {total}",
        }
    )
