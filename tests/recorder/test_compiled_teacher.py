"""A teacher that torch compiles: part of the plan, the same bytes every run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kdrec.errors import InvalidInputError
from kdrec.recorder import TeacherOptions, load_teacher
from kdrec.store import LocalStorage, find_manifest
from tests.programs import contents, kdrec, options
from tests.recorder.toy_teachers import write_toys

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where inductor keeps what it compiled: nowhere else, and not for longer."""
    yield {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path_factory.mktemp("inductor"))}
    torch.compiler.reset()


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    return write_toys(tmp_path)


def command(teachers: Path) -> list[str]:
    settings = {
        "teacher": f"{teachers}:Toy",
        "data": "shapes",
        "data-arg": ["count=20", "num_points=16"],
        "views": 2,
        "group": 2,
        "batch-size": 8,
        "block-samples": 8,
        "augment": "scale=0.9:1.1,rotate_y=15",
        "threads": 1,
        "encoding": "exact",
    }
    return list(options(settings))


def test_a_compiled_teacher_gives_the_same_bytes_every_run_and_the_plan_says_so(
    tmp_path: Path, teachers: Path, cache: dict[str, str]
) -> None:
    first, second = tmp_path / "1.zarr", tmp_path / "2.zarr"
    done = kdrec("record", first, *command(teachers), "--compile", env=cache)
    assert done.code == 0, done.err
    assert kdrec("record", second, *command(teachers), "--compile", env=cache).code == 0
    assert contents(first) == contents(second)
    manifest = find_manifest(LocalStorage(first), where="1.zarr")
    assert manifest is not None
    assert manifest.plan.compiled
    refused = kdrec("record", first, *command(teachers), env=cache)
    assert refused.code == 5
    assert "compiled: True recorded, nothing now" in refused.err


def test_what_is_compiled_says_what_the_network_says(
    teachers: Path, cache: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*next(iter(cache.items())))
    factory = f"{teachers}:Toy"
    plain = load_teacher(TeacherOptions(factory))
    compiled = load_teacher(TeacherOptions(factory, compiled=True))
    assert plain.compiled is None
    assert compiled.compiled is not None
    assert compiled.digest == plain.digest
    points_BN3 = torch.linspace(-1, 1, 8 * 16 * 3).reshape(8, 16, 3)
    torch.testing.assert_close(compiled.logits(points_BN3), plain.logits(points_BN3))
    assert torch.equal(compiled.uncompiled().logits(points_BN3), plain.logits(points_BN3))


def test_an_onnx_file_cannot_be_compiled(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="leave out --compile"):
        load_teacher(TeacherOptions(str(tmp_path / "a.onnx"), compiled=True))
