"""A real S3 server, moto's, in a process of its own, and buckets in it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens.

    Attributes:
        url: Of the server.
    """

    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs to use it."""
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",  # not one: the server takes any
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    def make_bucket(self, name: str) -> str:
        """An empty bucket; gives its address."""
        httpx.put(f"{self.url}/{name}").raise_for_status()
        return f"s3://{name}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start it on a free port; ends with the block."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody empties would stop it
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=kept,
        )
        try:
            yield S3Server(address_in_log(process, log, "Running on"))
        finally:
            process.terminate()
            process.wait(timeout=30)


def address_in_log(process: subprocess.Popen[bytes], log: IO[str], words: str) -> str:
    """The address that a server prints after these words, once it listens."""
    while process.poll() is None:
        log.seek(0)
        found = re.search(rf"{words} (http://[0-9.]+:[0-9]+)", log.read())
        if found:
            return found[1]
        time.sleep(0.05)
    raise RuntimeError("the server did not start")
