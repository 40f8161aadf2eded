"""The compose file on a real Docker engine; takes minutes, so only where it is asked for.

KDREC_TEST_DOCKER is the engine's address, such as unix:///var/run/docker.sock. Settings of
docker/.env may be given as environment variables: without a registry, KDREC_BASE and KDREC_NGINX.
"""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import kdrec
from tests.docker.certificates import make_certificate
from tests.docker.compose import Compose, find_compose
from tests.programs import contents
from tests.programs import kdrec as run_kdrec

ENGINE = os.environ.get("KDREC_TEST_DOCKER")
pytestmark = pytest.mark.skipif(
    ENGINE is None,
    reason="KDREC_TEST_DOCKER is not set to the address of a Docker engine, as .ci/run does",
)
PROJECT = f"kdrec-test-{os.getpid()}"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu/torch/"
DATA = ("--data", "shapes", "--data-arg", "count=80", "--data-arg", "num_points=64")


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Both images, built, and the service behind nginx with a recording; taken down at the end."""
    secrets = tmp_path_factory.mktemp("secrets")
    make_certificate(secrets, names="DNS:kdrec.internal,DNS:localhost")
    (secrets / "token").touch()
    started = _start(secrets)
    try:
        _bring_up(started)
        _record(started, "shapes", "--views", "4")
        yield started
    finally:
        started("--profile", "cpu", "--profile", "token", "down", "--volumes", "--timeout", "5")
        assert started.leftovers() == []
        started.docker("rmi", f"kdrec-serve:{PROJECT}", f"kdrec-record:{PROJECT}")


def _start(secrets: Path) -> Compose:
    program = find_compose()
    if program is None:
        pytest.skip("there is an engine, but neither `docker compose` nor docker-compose")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    own = {
        "DOCKER_HOST": str(ENGINE),
        "COMPOSE_PROJECT_NAME": PROJECT,
        "KDREC_VERSION": PROJECT,
        "KDREC_PORT": port,
        "KDREC_SECRETS": str(secrets),
        "KDREC_DATA": str(secrets / "data"),
        "KDREC_TORCH_LINKS": os.environ.get("KDREC_TORCH_LINKS", CPU_WHEELS),
    }
    return Compose(program, own, secrets)


def _bring_up(compose: Compose) -> None:
    compose("build", "api", "record-cpu")
    token = compose("run", "--rm", "-T", "token", "new", "--read", "shap*")
    (compose.secrets / "token").write_text(token)
    compose("up", "--detach", "nginx")


def _record(compose: Compose, name: str, *options: str) -> None:
    compose(
        "run", "--rm", "-T", "--entrypoint", "python3", "record-cpu",
        "-m", "kdrec.cli.demo_teacher", f"/runs/{name}", "80", "64", "1",
    )  # fmt: skip
    compose(
        "run", "--rm", "-T", "record-cpu", f"/recordings/{name}.zarr", "--teacher", "pointnet",
        "--weights", f"/runs/{name}/best.safetensors", *DATA,
        "--augment", "scale=0.9:1.1,normalize", *options,
    )  # fmt: skip


def test_what_was_recorded_is_fetched_with_a_token_through_nginx(
    compose: Compose, tmp_path: Path
) -> None:
    trusted = {
        "SSL_CERT_FILE": str(compose.secrets / "tls_certificate"),
        "KDREC_TOKEN_FILE": str(compose.secrets / "token"),
    }
    done = run_kdrec("fetch", f"{compose.url}/shapes", tmp_path / "copy.zarr", env=trusted)
    assert done.code == 0, done.err
    assert kdrec.open_recording(tmp_path / "copy.zarr").progress() == (1, 1)
    stored = compose("exec", "-T", "api", "find", "/recordings/shapes.zarr", "-type", "f")
    assert len(contents(tmp_path / "copy.zarr")) == len(stored.split())
    log = compose("logs", "--no-color")
    assert compose.authorization["Authorization"].removeprefix("Bearer ") not in log


def test_kdrec_says_yes_and_leaves_the_bytes_to_nginx(compose: Compose) -> None:
    ask = (
        "import sys; from urllib.request import Request, urlopen; "
        "url = 'http://127.0.0.1:8080/v1/recordings/shapes/zarr/logits/c/0/0/0'; "
        "answer = urlopen(Request(url, headers={'Authorization': sys.argv[1]})); "
        "print(answer.headers['X-Accel-Redirect'], len(answer.read()))"
    )
    token = compose.authorization["Authorization"]
    said = compose("exec", "-T", "api", "python3", "-c", ask, token)
    assert said.split() == ["/internal/recordings/shapes.zarr/logits/c/0/0/0", "0"]


def test_metrics_are_offered_beside_the_service_and_not_by_nginx(compose: Compose) -> None:
    read = (
        "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9090/metrics').read())"
    )
    assert "kdrec_" in compose("exec", "-T", "api", "python3", "-c", read)
    with httpx.Client(verify=compose.trust, headers=compose.authorization) as client:
        outside = client.get(compose.url.replace("/v1/recordings", "/metrics"))
    assert outside.status_code == 404


def test_nobody_reads_without_a_token_and_no_token_reads_what_it_does_not_cover(
    compose: Compose,
) -> None:
    with httpx.Client(verify=compose.trust) as client:
        assert client.get(f"{compose.url}/shapes").status_code == 401
        other = client.get(f"{compose.url}/other", headers=compose.authorization)
        assert other.status_code == 403


def test_a_student_trains_one_epoch_over_tls_with_the_secret_token(compose: Compose) -> None:
    address = f"https://{os.environ.get('KDREC_HOST', 'kdrec.internal')}:8443/v1/recordings/shapes"
    compose("run", "--rm", "-T", "train-cpu", address, "--out", "/runs/student", "--epochs", "1")
    results = compose(
        "run", "--rm", "-T", "--entrypoint", "cat", "train-cpu", "/runs/student/results.json"
    )
    assert '"teacher_weight": 0.9' in results


def test_of_three_services_one_is_killed_and_clients_notice_nothing(compose: Compose) -> None:
    compose("up", "--detach", "--scale", "api=3", "nginx")
    with httpx.Client(verify=compose.trust, headers=compose.authorization) as client:
        _wait_until_used(compose, client, services=3)
        compose.docker("kill", compose.containers("api")[0])
        statuses = {client.get(f"{compose.url}/shapes").status_code for _ in range(100)}
    assert statuses == {200}
    assert len(compose.containers("api")) == 2


def _wait_until_used(compose: Compose, client: httpx.Client, *, services: int) -> None:
    """nginx looks the services' addresses up again within two seconds."""
    for _ in range(60):
        assert client.get(f"{compose.url}/shapes").status_code == 200
        log = compose("logs", "--no-color", "--tail", "20", "nginx")
        if len({part.split('"')[0] for part in log.split('"upstream":"')[1:]}) == services:
            return
        time.sleep(0.5)
    raise AssertionError(log)


def test_the_service_has_no_torch_and_can_change_nothing(compose: Compose) -> None:
    def shell(command: str) -> str:
        return compose("exec", "-T", "api", "sh", "-c", f"{command} 2>&1 || true")

    assert "No module named 'torch'" in shell("python3 -c 'import torch'")
    assert "uid=10002(service) gid=10000(kdrec)" in shell("id")
    assert "Read-only file system" in shell("touch /opt/kdrec/x")
    assert "Read-only file system" in shell("touch /recordings/x")
    assert "Read-only file system" in shell("touch /tokens/x")
    assert "CapEff:\t0000000000000000" in shell("cat /proc/self/status")
    assert shell("stat -c '%U %G %a' /recordings/shapes.zarr/seal.json").strip() == (
        "recorder kdrec 640"
    )


def test_the_service_says_that_it_is_healthy(compose: Compose) -> None:
    states = {
        compose.docker("inspect", "--format", "{{.State.Health.Status}}", container).strip()
        for container in compose.containers("api")
    }
    assert states <= {"healthy", "starting"}
    assert "healthy" in states


def test_the_service_image_is_less_than_half_of_the_recorders(compose: Compose) -> None:
    sizes = {
        name: int(compose.docker("image", "inspect", "--format", "{{.Size}}", f"{name}:{PROJECT}"))
        for name in ("kdrec-serve", "kdrec-record")
    }
    assert sizes["kdrec-serve"] < sizes["kdrec-record"] / 2
