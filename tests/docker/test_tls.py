"""TLS as shipped, with a certificate made as docker/README.md says."""

import ssl
from pathlib import Path

import httpx
import pytest

from tests.docker.certificates import Certificate, make_certificate
from tests.docker.conftest import StartNginx
from tests.docker.nginx import Nginx
from tests.programs import contents, kdrec


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), names="DNS:localhost,IP:127.0.0.1")


def secure(nginx: Nginx) -> str:
    return nginx.recordings.replace("http://", "https://")


def test_a_recording_is_fetched_over_tls(
    service: str, start_nginx: StartNginx, certificate: Certificate, root: Path, tmp_path: Path
) -> None:
    with start_nginx(services=[service], certificate=certificate) as nginx:
        trusting = {"SSL_CERT_FILE": str(certificate.certificate)}
        done = kdrec("fetch", f"{secure(nginx)}/mn", tmp_path / "mn.zarr", env=trusting)
        assert done.code == 0, done.err
        refused = kdrec("fetch", f"{secure(nginx)}/mn", tmp_path / "other.zarr")
    assert contents(tmp_path / "mn.zarr") == contents(root / "mn.zarr")
    assert refused.code == 1
    assert "certificate" in refused.err


def test_old_protocols_are_refused_and_plain_http_is_not_spoken(
    service: str, start_nginx: StartNginx, certificate: Certificate
) -> None:
    with start_nginx(services=[service], certificate=certificate) as nginx:
        trusting = ssl.create_default_context(cafile=str(certificate.certificate))
        with nginx.connect() as raw, trusting.wrap_socket(raw, server_hostname="localhost") as new:
            assert new.version() == "TLSv1.3"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with nginx.connect() as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)
        assert httpx.get(f"{nginx.recordings}/mn").status_code == 400


def test_every_answer_keeps_browsers_to_tls(
    service: str, start_nginx: StartNginx, certificate: Certificate
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate.certificate))
    with (
        start_nginx(services=[service], certificate=certificate) as nginx,
        httpx.Client(verify=trusting) as client,
    ):
        for path in ("/mn", "/none", "/mn/zarr/zarr.json"):
            headers = client.get(secure(nginx) + path).headers
            assert headers["Strict-Transport-Security"] == "max-age=31536000"
            assert headers["X-Content-Type-Options"] == "nosniff"
