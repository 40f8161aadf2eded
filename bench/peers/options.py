"""What both programs take from the command line."""

import argparse
from pathlib import Path

from bench.peers.environment import default_folder


def make_parser(description: str | None, *, samples: int, views: int) -> argparse.ArgumentParser:
    """A parser with the options that reading and loading share.

    Args:
        description: The program's docstring.
        samples: By default.
        views: By default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--views", type=int, default=views)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--environment", type=Path, default=default_folder())
    parser.add_argument("--no-peers", action="store_true")
    return parser
