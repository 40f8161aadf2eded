"""What those who run the service see: ids, logs, metrics, readiness, several workers."""

import json
import logging
import logging.config
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from kdrec.api import LogFormat, ServiceSettings
from kdrec.api.catalog import Catalog
from kdrec.api.logs import logging_config
from kdrec.api.metrics import RecordingMetrics
from kdrec.api.server import BoundService
from kdrec.errors import InvalidInputError
from tests.api.services import numbers, serving
from tests.programs import start

Serve = Callable[..., str]
HangingDisk = Callable[[Path], AbstractContextManager[threading.Event]]
FILE = "/v1/recordings/mn/zarr/logits/c/0/1/0"


def access_lines(caplog: pytest.LogCaptureFixture, count: int) -> list[logging.LogRecord]:
    """The lines of the requests; an answer may arrive before its line is written."""
    for _ in range(200):
        found = [record for record in caplog.records if record.name == "kdrec.access"]
        if len(found) >= count:
            break
        time.sleep(0.02)
    return found


def test_metrics_tell_of_requests_bytes_errors_and_recordings(root: Path) -> None:
    (root / "mn.zarr" / "ledger" / "g00001-p00001.json").unlink()
    with serving(ServiceSettings(root=root, port=0, metrics_port=0)) as service:
        size = len(httpx.get(service.url + FILE).content)
        httpx.get(service.url + FILE)
        httpx.get(f"{service.url}/v1/recordings/nothing")
        httpx.request("PROPFIND", f"{service.url}/v1/recordings")
        found = numbers(service.metrics_port)
        assert httpx.get(f"{service.url}/metrics").status_code == 404
    route = "/v1/recordings/{name}/zarr/{key}"
    assert found[f'kdrec_requests_total{{method="GET",route="{route}",status="200"}}'] == 2
    assert found[f'kdrec_response_bytes_total{{route="{route}"}}'] == 2 * size
    assert found[f'kdrec_request_seconds_count{{route="{route}"}}'] == 2
    assert found['kdrec_errors_total{kind="not_found"}'] == 1
    assert any('method="other"' in name for name in found)
    assert found["kdrec_requests_in_flight"] == 0
    assert found["kdrec_storage_up"] == found["kdrec_recordings"] == 1
    assert (found["kdrec_blocks_committed"], found["kdrec_blocks_planned"]) == (5, 6)


def test_paths_do_not_become_names_of_metrics(root: Path) -> None:
    with serving(ServiceSettings(root=root, port=0, metrics_port=0)) as service:
        for number in range(5):
            httpx.get(f"{service.url}/nowhere/{number}")
            httpx.get(f"{service.url}/v1/recordings/r{number}")
        names = [name for name in numbers(service.metrics_port) if "requests_total" in name]
    assert len(names) == 2


def test_metrics_of_storage_that_hangs_say_so(root: Path, hanging_disk: HangingDisk) -> None:
    metrics = RecordingMetrics(Catalog(root), patience=0.05)
    with hanging_disk(root / "mn.zarr" / "seal.json"):
        for _ in range(3):
            (up,) = metrics.collect()
            assert (up.name, up.samples[0].value) == ("kdrec_storage_up", 0)
        assert sum(thread.name.startswith("Thread") for thread in threading.enumerate()) < 20


def test_a_metrics_port_that_is_taken_is_named_and_the_other_given_back(root: Path) -> None:
    with serving(ServiceSettings(root=root, port=0, metrics_port=0)) as service:
        settings = ServiceSettings(root=root, port=0, metrics_port=service.metrics_port)
        with pytest.raises(InvalidInputError, match=f"metrics port {service.metrics_port}"):
            BoundService(settings)


def test_not_ready_on_storage_that_hangs_though_alive(
    root: Path, serve_folder: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    scan = os.scandir

    def hang(path: object) -> object:
        if str(path) == str(root):
            hanging.wait(30)
        return scan(path)  # type: ignore[call-overload]

    url = serve_folder(root, probe_seconds=0.1)
    assert httpx.get(f"{url}/readyz").status_code == 200
    monkeypatch.setattr(os, "scandir", hang)
    try:
        for _ in range(5):
            answer = httpx.get(f"{url}/readyz")
            assert (answer.status_code, answer.json()["kind"]) == (503, "storage")
            assert httpx.get(f"{url}/healthz").status_code == 200
    finally:
        hanging.set()
    monkeypatch.undo()
    for _ in range(50):
        if httpx.get(f"{url}/readyz").status_code == 200:
            return
    raise AssertionError("it does not get ready again")


def test_every_answer_protects_the_one_who_asks(finished_url: str) -> None:
    for path in ("/healthz", FILE, FILE, "/nowhere", "/v1/recordings", "/docs"):
        headers = httpx.get(finished_url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers


def test_a_request_has_an_id_its_own_or_the_one_it_brings(finished_url: str) -> None:
    first, second = (httpx.get(finished_url + FILE).headers["x-request-id"] for _ in range(2))
    assert first != second
    for brought, kept in (("abc-1", True), ("x" * 65, False), ('a"b', False), ("", False)):
        answer = httpx.get(finished_url + FILE, headers={"X-Request-ID": brought})
        assert (answer.headers["x-request-id"] == brought) is kept


def test_a_line_for_each_request_with_its_id_and_without_its_query(
    finished: Path, serve_folder: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve_folder(finished)  # one of its own: another's last line may come late
    with caplog.at_level(logging.INFO, logger="kdrec.access"):
        answer = httpx.get(f"{url}{FILE}?token=secret")
        httpx.get(f"{url}/v1/recordings/a%0Ab")
        line, broken = access_lines(caplog, 2)
    told = vars(line)
    assert line.getMessage() == f"GET {FILE} 200"
    assert told["request_id"] == answer.headers["x-request-id"]
    assert (told["status"], told["bytes"]) == (200, len(answer.content))
    assert told["route"] == "/v1/recordings/{name}/zarr/{key}"
    assert "secret" not in str(told)
    assert "\n" not in broken.getMessage()


def test_what_nginx_sends_has_its_line_there_and_the_rest_here(
    finished: Path, serve_folder: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve_folder(finished, accel_prefix="/internal/")
    with caplog.at_level(logging.INFO, logger="kdrec.access"):
        for _ in range(2):  # found, and found again
            assert httpx.get(f"{url}{FILE}").headers["x-kdrec-token-name"] == "anyone"
        assert "x-kdrec-token-name" not in httpx.get(f"{url}{FILE}-1").headers
        (line,) = access_lines(caplog, 1)
    assert line.getMessage() == f"GET {FILE}-1 404"


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_lines_carry_the_id_of_their_request(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    told = logging_config(log_format, access=False)
    told["handlers"]["stderr"]["stream"] = "ext://sys.stderr"
    names = [*told["loggers"]]
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level,
                     logging.getLogger(name).propagate) for name in names}  # fmt: skip
    try:
        logging.config.dictConfig(told)
        logging.getLogger("kdrec.api").warning("something", extra={"request_id": "r1"})
        logging.getLogger("kdrec.access").info("not wanted")
    finally:
        for name, (handlers, level, propagate) in before.items():
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    if log_format is LogFormat.JSON:
        parsed = json.loads(line)
        assert (parsed["message"], parsed["request_id"]) == ("something", "r1")
    else:
        assert "WARNING [r1] something" in line


@pytest.mark.parametrize(("proxies", "client"), [((), "127.0.0.1"), (("127.0.0.0/8",), "9.9.9.9")])
def test_only_trusted_proxies_say_who_asks(
    root: Path, serve_folder: Serve, caplog: pytest.LogCaptureFixture, proxies: tuple[str, ...],
    client: str,
) -> None:  # fmt: skip
    url = serve_folder(root, trusted_proxies=proxies)
    with caplog.at_level(logging.INFO, logger="kdrec.access"):
        httpx.get(f"{url}/healthz", headers={"X-Forwarded-For": "9.9.9.9"})
        (line,) = access_lines(caplog, 1)
    assert vars(line)["client"] == client


def test_several_workers_share_a_port_and_one_that_is_killed_is_replaced(root: Path) -> None:
    process = start("serve", root, "--port", "0", "--workers", "2", "--metrics-port", "0")
    parent = psutil.Process(process.pid)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        workers = [child for child in parent.children() if "spawn_main" in str(child.cmdline())]
        assert len(workers) == 2
        assert httpx.get(url + FILE).status_code == 200
        workers[0].send_signal(signal.SIGKILL)
        for _ in range(100):
            with httpx.Client() as client:  # a connection of its own each time
                try:
                    assert client.get(url + FILE).status_code == 200
                except httpx.TransportError:
                    continue  # it was with the one that was killed
            alive = {child.pid for child in parent.children()} - {workers[0].pid}
            if len(alive) >= 3:  # the resource tracker is a child too
                break
            threading.Event().wait(0.1)
        else:
            raise AssertionError("it was not replaced")
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert not any(worker.is_running() for worker in workers[1:])


def test_workers_do_not_outlive_a_parent_that_is_killed(root: Path) -> None:
    process = start("serve", root, "--port", "0", "--workers", "2")
    assert process.stdout is not None
    process.stdout.readline()
    children = psutil.Process(process.pid).children()
    process.kill()
    process.communicate(timeout=30)
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []


def test_flags_win_over_the_environment_and_that_over_the_file(root: Path, tmp_path: Path) -> None:
    from tests.programs import kdrec

    file = tmp_path / "serve.toml"
    file.write_text(f'folder = "{root}"\nport = 70001\nhost = "192.0.2.7"\n')
    environment = {"KDREC_SERVE_PORT": "70002"}
    assert "got 70001" in kdrec("serve", root, "--config", file).err
    assert "got 70002" in kdrec("serve", root, "--config", file, env=environment).err
    flags = ("serve", root, "--config", file, "--port", "70003")
    assert "got 70003" in kdrec(*flags, env=environment).err
    assert "192.0.2.7" in kdrec("serve", root, "--config", file, "--port", "0").err


def test_a_recording_deleted_while_it_is_read_is_an_error_at_the_client(
    root: Path, serve_folder: Serve, tmp_path: Path
) -> None:
    from kdrec.client import open_recording
    from kdrec.errors import IncompleteError

    url = f"{serve_folder(root)}/v1/recordings/mn"
    remote = open_recording(url, cache=tmp_path / "cache")
    assert remote.read(0)[1].shape == (10, 5)
    shutil.rmtree(root / "mn.zarr")
    assert remote.read(0)[1].shape == (10, 5)  # what it has, it has
    with pytest.raises(IncompleteError, match=r"g00001-p00000 .* is not in this copy") as error:
        remote.read(3)
    assert "no recording mn" in str(error.value.__cause__)
