from pathlib import Path

import pytest

from kdrec.api import ServiceSettings
from kdrec.errors import InvalidInputError, NotFoundError


def test_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no folder .*nowhere; give a folder"):
        ServiceSettings(root=tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match="no folder"):
        ServiceSettings(root=tmp_path / "file")


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidInputError, match=f"from 0 to 65535, got {port}"):
        ServiceSettings(root=tmp_path, port=port)


def test_it_is_for_this_machine_only_unless_told_otherwise(tmp_path: Path) -> None:
    settings = ServiceSettings(root=tmp_path)
    assert (settings.host, settings.port, settings.public) == ("127.0.0.1", 8080, False)


@pytest.mark.parametrize(
    "prefix", ["", "internal/", "/internal", "/in ternal/", "/x/\n", "http://h/"]
)
def test_an_accel_prefix_that_is_no_location_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(InvalidInputError, match="such as /internal/"):
        ServiceSettings(root=tmp_path, accel_prefix=prefix)
