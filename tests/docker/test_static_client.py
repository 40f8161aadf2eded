"""The same client reads a sealed recording from plain nginx, without kdrec on the other side."""

from pathlib import Path

import pytest

import kdrec
from kdrec.errors import KdrecError
from kdrec.testing import make_recording
from tests.docker.conftest import StartNginx
from tests.programs import contents
from tests.programs import kdrec as run_kdrec


def test_a_sealed_recording_is_read_and_copied_without_kdrec(
    start_nginx: StartNginx, root: Path, tmp_path: Path
) -> None:
    with start_nginx("nginx-static.conf") as nginx:
        url = f"{nginx.url}/recordings/mn.zarr"
        opened = kdrec.open_recording(url, cache=tmp_path / "cache")
        local = kdrec.open_recording(root / "mn.zarr")
        assert opened.identity == local.identity
        assert (opened.read(3, [5, 900])[1] == local.read(3, [5, 900])[1]).all()
        done = run_kdrec("fetch", url, tmp_path / "mn.zarr")
    assert done.code == 0, done.err
    assert contents(tmp_path / "mn.zarr") == contents(root / "mn.zarr")


def test_one_that_is_still_recorded_is_refused(start_nginx: StartNginx, tmp_path: Path) -> None:
    make_recording(tmp_path / "root" / "half.zarr", blocks=2)
    with start_nginx("nginx-static.conf", recordings=tmp_path / "root") as nginx:
        url = f"{nginx.url}/recordings/half.zarr"
        with pytest.raises(KdrecError, match="sealed"):
            kdrec.open_recording(url, cache=tmp_path / "cache").progress()
