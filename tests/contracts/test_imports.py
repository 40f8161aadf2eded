"""What an import may load, and where the signposts lead."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "fastapi", "starlette", "uvicorn")


@pytest.mark.parametrize(
    "module", ["kdrec", "kdrec.store", "kdrec.samples", "kdrec.client", "kdrec.cli.app"]
)
def test_an_import_loads_neither_torch_nor_the_web(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_the_face_gives_its_names_lazily() -> None:
    code = (
        "import sys, kdrec; kdrec.open_recording; assert 'torch' not in sys.modules;"
        "kdrec.RecordedViews; assert 'torch' in sys.modules; assert 'RecordedViews' in dir(kdrec)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_face_says_what_it_has_not() -> None:
    import kdrec

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kdrec.nothing  # noqa: B018


@pytest.mark.parametrize("part", ["recorder", "store", "api", "cli"])
def test_a_signpost_at_the_root_leads_to_its_part(part: str) -> None:
    link = ROOT / part
    assert link.is_symlink()
    assert link.resolve() == ROOT / "kdrec" / part
    assert not Path(link.readlink()).is_absolute()


def test_nothing_names_the_signposts_as_a_package() -> None:
    for path in (ROOT / "kdrec").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(
                tuple(f"from {p}" for p in ("recorder", "store", "api", "cli"))
            )
