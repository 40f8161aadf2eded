"""`kdrec demo`, at its smallest."""

import json
from pathlib import Path

from tests.programs import kdrec


def test_the_demo_tells_the_whole_story(tmp_path: Path) -> None:
    done = kdrec(
        "demo", "--folder", tmp_path / "demo", "--clouds", "100", "--views", "2",
        "--teacher-epochs", "1", "--epochs", "1", "--json", "--picture", tmp_path / "demo.svg",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["recording"]["records"] == 200
    for student in ("distilled", "labels_only"):
        assert 0 <= found[student]["test_accuracy"] <= 1
        assert found[student]["peak_memory_bytes"] > 0
        assert (tmp_path / "demo" / student.replace("_", "-") / "best.safetensors").exists()
    assert "two students" in (tmp_path / "demo.svg").read_text().replace("&#160;", " ")
    again = kdrec("demo", "--folder", tmp_path / "demo")
    assert again.code == 5
    assert "not empty" in again.err
