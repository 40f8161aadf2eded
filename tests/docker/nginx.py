"""A real nginx with the configuration that kdrec ships, as a process on a free port."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docker.certificates import Certificate

CONFIGURATION = Path(__file__).resolve().parents[2] / "docker" / "nginx"
_START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running one.

    Attributes:
        port: Of 127.0.0.1.
        log: What it wrote to its standard output.
    """

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def recordings(self) -> str:
        return f"{self.url}/v1/recordings"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def requests(self, *, at_least: int = 1, of: str = "") -> list[dict[str, Any]]:
        """Its log; a line comes after its answer, so wait for as many as must come.

        Args:
            at_least: So many must come.
            of: Stands in those that are meant.
        """
        for _ in range(500):
            lines = [line for line in self.log.read_text().splitlines() if of in line]
            if len(lines) >= at_least:
                break
            time.sleep(0.01)
        assert len(lines) >= at_least
        return [json.loads(line) for line in lines]


def find_nginx() -> str | None:
    """The program, which is often not in a user's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running_nginx(
    folder: Path,
    main: str = "nginx.conf",
    *,
    services: Sequence[str] = (),
    recordings: Path,
    certificate: Certificate | None = None,
    changes: Mapping[str, str] | None = None,
) -> Iterator[Nginx]:
    """Start it on a copy of the shipped folder, and stop it.

    Args:
        folder: For the copy, the pid, temporary files and logs.
        main: Which of the configurations.
        services: Addresses of kdrec services.
        recordings: The folder they serve.
        certificate: With one it speaks TLS, as shipped; else plain HTTP.
        changes: Shipped text, of which there is one, and what stands there instead: shorter times.
    """
    program = find_nginx()
    assert program is not None
    port = _free_port()
    copy = _write_configuration(folder, port, services, recordings, certificate, changes or {})
    log = folder / "access.log"
    with log.open("w") as out, (folder / "error.log").open("w") as err:
        # Of root's workers: they must read what pytest keeps from all other users.
        rest = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        process = subprocess.Popen(
            [program, "-e", "stderr", "-p", f"{folder}/", "-c", str(copy / main), "-g", rest],
            stdout=out,
            stderr=err,
        )
    try:
        _wait(process, port, folder / "error.log")
        yield Nginx(port, log)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _write_configuration(
    folder: Path,
    port: int,
    services: Sequence[str],
    recordings: Path,
    certificate: Certificate | None,
    changes: Mapping[str, str],
) -> Path:
    copy = folder / "configuration"
    shutil.copytree(CONFIGURATION, copy)
    (copy / "site.conf").write_text(_site(services, recordings))
    listen = f"listen 127.0.0.1:{port};"
    if certificate is not None:
        listen = _replaced(
            (copy / "listen.conf").read_text(),
            {
                "listen 8443 ssl;": f"listen 127.0.0.1:{port} ssl;",
                "/run/secrets/tls_certificate": str(certificate.certificate),
                "/run/secrets/tls_key": str(certificate.key),
            },
        )
    (copy / "listen.conf").write_text(listen)
    for shipped, other in changes.items():
        (file,) = (path for path in copy.iterdir() if shipped in path.read_text())
        file.write_text(_replaced(file.read_text(), {shipped: other}))
    return copy


def _site(services: Sequence[str], recordings: Path) -> str:
    """As site.conf says for places without Docker."""
    servers = " ".join(f"server {url.removeprefix('http://')};" for url in services)
    return "\n".join(
        [
            f"upstream services {{ {servers or 'server 127.0.0.1:1;'} keepalive 32; }}",
            'map "" $kdrec { default services; }',
            f'map "" $recordings {{ default {recordings.resolve()}; }}',
        ]
    )


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for shipped, other in changes.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, other)
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    for _ in range(_START_SECONDS * 50):
        assert process.poll() is None, errors.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(errors.read_text())
