"""docs/streaming.md is true: its code runs, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from kdrec.testing import make_recording
from tests.programs import python, service

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "streaming.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_runs_from_top_to_bottom(tmp_path: Path) -> None:
    make_recording(tmp_path / "copy.zarr")
    assert {language for language, _ in BLOCKS} == {"python"}
    with service(tmp_path) as url:
        code = "\n".join(body for _, body in BLOCKS)
        code = code.replace("https://gpu-box/v1/recordings/mn40", f"{url}/copy")
        code = code.replace("/scratch/kdrec", str(tmp_path / "cache"))
        done = python(code, cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize("name", re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
def test_every_test_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()
