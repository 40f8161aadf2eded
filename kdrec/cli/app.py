"""The program: its commands, and how errors leave it."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from kdrec.cli import (
    convert,
    demo,
    estimate,
    evaluate,
    export,
    fetch,
    inspection,
    models,
    record,
    repair,
    serve,
    token,
    train,
    verify,
)
from kdrec.cli.terminal import say_error
from kdrec.errors import EXIT_DONE, EXIT_FAILED, EXIT_WRONG_USE, KdrecError
from kdrec.version import __version__

_INTERRUPTED = 130  # what typer makes of Ctrl-C
_MISSING = {
    "torch": "train",
    "matplotlib": "train",
    "fastapi": "serve",
    "uvicorn": "serve",
    "safetensors": "train",
}

app = typer.Typer(
    name="kdrec",
    help="Record a teacher once; train every student from the record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "estimate": estimate.estimate,
    "record": record.record,
    "inspect": inspection.inspect,
    "verify": verify.verify,
    "repair": repair.repair,
    "convert": convert.convert,
    "serve": serve.serve,
    "fetch": fetch.fetch,
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "models": models.models,
    "export": export.export,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(token.app, name="token")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kdrec {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave with its exit code.

    0 done, 1 failed, 2 wrong use, 3 not found or incomplete, 4 integrity, 5 conflict.
    """
    given = sys.argv[1:] if arguments is None else arguments
    wanted = [argument for argument in given if argument != "--debug"]
    sys.exit(_run(wanted, debug=len(wanted) < len(given)))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = app(arguments, standalone_mode=False, obj=arguments)
    except SystemExit as error:
        # typer's own: nobody reads on (`| head`), or a shell asks what fits.
        if "_KDREC_COMPLETE" in os.environ or isinstance(error.__context__, BrokenPipeError):
            raise
        if debug:
            traceback.print_exc()
        say_error(
            f"code of a teacher, a student or data ended the program by sys.exit({error.code}): "
            "let it raise an error that says why"
        )
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the edge of the program: every error is one line
        if debug:
            traceback.print_exc()
        message, exit_code = _describe(error)
        say_error(message)
        return exit_code
    if code == _INTERRUPTED:
        say_error("stopped; what was committed stays, the same command continues")
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_DONE


def _describe(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, KdrecError):
        return str(error), error.outcome.exit_code
    if isinstance(error, typer.TyperException):
        return f"{error.format_message().removesuffix('.')}; see --help", EXIT_WRONG_USE
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing in _MISSING:
        return (
            f"{missing} is not installed; run `pip install kdrec[{_MISSING[missing]}]`",
            EXIT_WRONG_USE,
        )
    return f"{type(error).__name__}: {error}; --debug shows where it comes from", EXIT_FAILED
