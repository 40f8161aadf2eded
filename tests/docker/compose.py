"""docker/compose.yaml on a real engine, as docker/README.md says to use it."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docker"
_BUILD_ON_HOST_NETWORK = Path(__file__).with_name("host_network.yaml")
_COMMAND_SECONDS = 1500


def find_compose() -> Sequence[str] | None:
    """`docker compose`, or the program that was before it."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and _succeeds([*plugin, "version"]):
        return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


@dataclass(frozen=True, slots=True)
class Compose:
    """One project of the compose file.

    Attributes:
        program: See `find_compose`.
        settings: Environment variables, as those of docker/.env.
        secrets: Folder of tls_certificate, tls_key and token.
    """

    program: Sequence[str]
    settings: Mapping[str, str]
    secrets: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.settings['KDREC_PORT']}/v1/recordings"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.secrets / "tls_certificate"))

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.secrets / 'token').read_text().strip()}"}

    def __call__(self, *arguments: str) -> str:
        """Run a command of compose; gives its standard output."""
        files = ["-f", str(FOLDER / "compose.yaml"), "-f", str(_BUILD_ON_HOST_NETWORK)]
        return self._run([*self.program, *files, *arguments])

    def docker(self, *arguments: str) -> str:
        """Run a command of the engine; gives its standard output."""
        return self._run(["docker", *arguments])

    def containers(self, service: str) -> list[str]:
        """Ids of the running containers of a service."""
        project = self.settings["COMPOSE_PROJECT_NAME"]
        return self.docker(
            "ps", "--quiet", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={project}",
            "--filter", f"label=com.docker.compose.service={service}",
        ).split()  # fmt: skip

    def leftovers(self) -> list[str]:
        """What the engine still has of the project: containers, volumes, networks."""
        label = f"label=com.docker.compose.project={self.settings['COMPOSE_PROJECT_NAME']}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return [
            found
            for kind in kinds
            for found in self.docker(*kind, "--quiet", "--filter", label).split()
        ]

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env=os.environ | dict(self.settings),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout
