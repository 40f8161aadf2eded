"""A real server of Azure's blob protocol, Azurite, in a process of its own, and containers in it.

It is a program of Node's (`npm install azurite`); tests that need it are skipped where
`azurite-blob` is not on the path.
"""

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate

import httpx

from tests.buckets import address_in_log

_ACCOUNT = "devstoreaccount1"
# Azurite's own, the same for everybody: no secret.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class AzureServer:
    """Where it listens.

    Attributes:
        url: Of the account.
    """

    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs to use it."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": self.url,
            "AZURE_ALLOW_HTTP": "true",
        }

    def make_container(self, name: str) -> str:
        """An empty container; gives its address. obstore cannot make one."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        signed = [f"{key}:{value}" for key, value in sorted(headers.items())]
        # Twice the account: the emulator has it in its path as well.
        resource = [f"/{_ACCOUNT}/{_ACCOUNT}/{name}", "restype:container"]
        text = "\n".join(["PUT", *[""] * 11, *signed, *resource])
        digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
        httpx.put(f"{self.url}/{name}?restype=container", headers=headers).raise_for_status()
        return f"az://{name}"


@contextmanager
def azure_server() -> Iterator[AzureServer | None]:
    """Start it on a free port; ends with the block. None where it is not installed."""
    program = shutil.which("azurite-blob")
    if program is None:
        yield None
        return
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AZURE_")}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [program, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck",
             "--disableTelemetry"],
            stdout=log, stderr=log, cwd=folder, env=kept,
        )  # fmt: skip
        try:
            yield AzureServer(f"{address_in_log(process, log, 'listens on')}/{_ACCOUNT}")
        finally:
            process.terminate()
            process.wait(timeout=30)
