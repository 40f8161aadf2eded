"""The command line: thin, one file a command."""

from kdrec.cli.app import main

__all__ = ["main"]
