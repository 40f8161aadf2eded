import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest

from kdrec.api import ServiceSettings, serve
from kdrec.api.server import BoundService
from kdrec.errors import InvalidInputError

HangingDisk = Callable[[Path], AbstractContextManager[threading.Event]]
_PROGRAM = """
import sys
from pathlib import Path
from kdrec.api import ServiceSettings, serve
settings = ServiceSettings(root=Path(sys.argv[1]), port=0)
serve(settings, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_it_runs_in_the_foreground_until_a_signal(
    finished: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(finished)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/v1/recordings/mn").status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == ("stopped\n" if code == 0 else "")
    assert err == ""


def test_it_takes_more_clients_than_a_process_may_have_open_files_at_first(finished: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (80, 4096)){_PROGRAM}"
    command = [sys.executable, "-c", limited, str(finished)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as all_,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for _ in range(150):
            client = all_.enter_context(httpx.Client(timeout=20))
            assert client.get(f"{url}/healthz").status_code == 200
        process.terminate()


def test_port_0_takes_a_free_one_and_says_which(
    serve_folder: Callable[[Path], str], finished: Path
) -> None:
    first, second = serve_folder(finished), serve_folder(finished)
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9][0-9]*", first)
    assert first != second
    assert httpx.get(f"{first}/healthz").status_code == 200
    assert httpx.get(f"{second}/healthz").status_code == 200


def test_a_port_that_is_taken_is_named(finished: Path) -> None:
    with closing(BoundService(ServiceSettings(root=finished, port=0))) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(InvalidInputError, match=f"port {port} of 127.0.0.1 is taken.*--port 0"):
            serve(ServiceSettings(root=finished, port=port))


def test_a_port_is_free_again_when_the_service_has_stopped(finished: Path) -> None:
    with closing(BoundService(ServiceSettings(root=finished, port=0))) as first:
        port = int(first.url.rpartition(":")[2])
    with closing(BoundService(ServiceSettings(root=finished, port=port))) as second:
        assert second.url.endswith(f":{port}")


def test_answers_are_sent_at_once(finished: Path) -> None:
    """Only of a socket that says its protocol does asyncio turn Nagle's algorithm off."""
    with closing(BoundService(ServiceSettings(root=finished, port=0))) as service:
        assert service._socket.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7"])
def test_others_than_this_machine_are_not_served_unless_it_is_said(
    finished: Path, host: str
) -> None:
    with pytest.raises(InvalidInputError, match=r"nobody is asked for a token.*--public"):
        serve(ServiceSettings(root=finished, host=host, port=0))


def test_a_public_service_listens_everywhere(finished: Path) -> None:
    settings = ServiceSettings(root=finished, host="0.0.0.0", port=0, public=True)
    with closing(BoundService(settings)) as service:
        assert service.url.startswith("http://0.0.0.0:")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_every_loopback_address_will_do(finished: Path, host: str) -> None:
    if host == "::1" and not _has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
    with closing(BoundService(ServiceSettings(root=finished, host=host, port=0))) as service:
        assert service.url.startswith(("http://127.0.0.", "http://[::1]:"))


@pytest.mark.parametrize("host", ["no such host", "x" * 300, "a..b"])
def test_a_host_that_is_none_is_named(finished: Path, host: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is unknown .* such as 127\.0\.0\.1"):
        serve(ServiceSettings(root=finished, host=host, port=0))


def test_an_address_of_another_machine_cannot_be_used(finished: Path) -> None:
    settings = ServiceSettings(root=finished, host="192.0.2.7", port=0, public=True)
    with pytest.raises(InvalidInputError, match=r"port 0 of 192\.0\.2\.7 cannot be used"):
        serve(settings)


def test_an_answer_under_way_is_finished_before_it_stops(
    root: Path, hanging_disk: HangingDisk
) -> None:
    ready = threading.Event()
    settings = ServiceSettings(root=root, port=0)
    with (
        closing(BoundService(settings, on_ready=lambda _: ready.set())) as service,
        ThreadPoolExecutor() as threads,
    ):
        running = threads.submit(service.run)
        assert ready.wait(10)
        with hanging_disk(root / "mn.zarr" / "seal.json") as reached:
            asking = threads.submit(httpx.get, f"{service.url}/v1/recordings/mn")
            assert reached.wait(10)
            service.stop()
            _until(lambda: _refuses_connections(service.url))
            assert not asking.done()
        assert asking.result(10).json()["sealed"] is True
        running.result(10)


def _until(attempt: Callable[[], int]) -> int:
    for _ in range(500):
        with suppress(OSError):
            return attempt()
        time.sleep(0.02)
    raise TimeoutError


def _refuses_connections(url: str) -> int:
    try:
        httpx.get(f"{url}/healthz", timeout=1)
    except httpx.ConnectError:
        return 0
    raise ConnectionError


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
