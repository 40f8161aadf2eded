"""`kdrec token`: make, list and revoke the tokens of a service."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from kdrec.api import TOKEN_BYTES, TokenEntry, TokenFile, make_token
from kdrec.cli.options import Json
from kdrec.cli.terminal import say, show_json, show_rows

app = typer.Typer(
    help="Tokens by which `kdrec serve --tokens FILE` knows who may read what.",
    no_args_is_help=True,
)
Tokens = Annotated[
    Path,
    typer.Option(envvar="KDREC_SERVE_TOKENS", help="File of hashes; made if it is not there."),
]


@app.command()
def new(
    read: Annotated[
        list[str],
        typer.Option(
            metavar="PATTERN", help="Recordings it may read: 'mn40-*'; may be given again."
        ),
    ],
    tokens: Tokens,
    name: Annotated[
        str | None, typer.Option(help="Whose it is, for the log and to revoke it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token: printed once to stdout; the file keeps its hash only."""
    token = make_token(secrets.token_bytes(TOKEN_BYTES))
    entry = TokenEntry.of(token, name=name or f"token-{secrets.token_hex(4)}", patterns=read)
    TokenFile(tokens).add(entry)
    if as_json:
        show_json({"name": entry.name, "read": list(entry.patterns), "token": token})
        return
    typer.echo(token)
    say(f"{entry.name} may read {' '.join(read)}; this is the only time the token is shown")


@app.command("list")
def show(tokens: Tokens, as_json: Json = False) -> None:
    """Names and patterns; the tokens themselves are not kept."""
    file = TokenFile(tokens)
    file.check()
    entries = file.current()
    if as_json:
        show_json({"tokens": [{"name": e.name, "read": list(e.patterns)} for e in entries]})
        return
    show_rows({entry.name: " ".join(entry.patterns) for entry in entries} or {"none": ""})


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As `kdrec token list` shows it.")], tokens: Tokens
) -> None:
    """Take a token back; a running service notices at once."""
    TokenFile(tokens).remove(name)
    say(f"{name} is revoked")
