"""A certificate as docker/README.md makes it."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "docker" / "README.md"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The two files."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, *, names: str) -> Certificate:
    """Run the command of the README in a folder that is there.

    Args:
        folder: Where.
        names: For whom, as in `subjectAltName`.
    """
    (command,) = re.findall(r"^openssl req (?:.*\\\n)*.*", README.read_text(), re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    words = [re.sub("subjectAltName=.*", f"subjectAltName={names}", word) for word in words]
    made = Certificate(folder / "tls_certificate", folder / "tls_key")
    words = [{"secrets/tls_certificate": str(made.certificate), "secrets/tls_key": str(made.key)}
             .get(word, word) for word in words]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
    for path in (made.certificate, made.key):
        path.chmod(0o644)  # the folder keeps others out, the containers see the files alone
    return made
