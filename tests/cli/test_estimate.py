"""`kdrec estimate`: asked as `kdrec record` is, writes nothing."""

from pathlib import Path

from tests.programs import kdrec
from tests.recorder.toy_teachers import write_toys


def test_it_takes_the_options_of_record_and_leaves_nothing(tmp_path: Path) -> None:
    asked = (
        "--teacher", f"{write_toys(tmp_path)}:Toy", "--data", "shapes", "--data-arg", "count=30",
        "--data-arg", "num_points=64", "--views", "6", "--augment", "scale=0.9:1.1",
        "--threads", "1", "--trial", "64",
    )  # fmt: skip
    made = {*tmp_path.iterdir(), tmp_path / "__pycache__"}  # which Python leaves beside a teacher
    shown = kdrec("estimate", *asked, cwd=tmp_path)
    assert shown.code == 0, shown.err
    for part in ("180: 6 views x 30 samples", "break-even", "with jitter of every point",
                 "float32", "as stored"):  # fmt: skip
        assert part in shown.out
    found = kdrec("record", tmp_path / "r.zarr", *asked, "--json", cwd=tmp_path).json
    assert found["records"] == 180
    assert found["seconds"] > 0
    with_jitter, without = (found["bytes_per_record"][f"with_{w}"]["float32"]
                            for w in ("jitter", "parameters"))  # fmt: skip
    assert (with_jitter, without) == (4 * (12 + 3 + 3 * 64), 4 * (12 + 3))
    assert made.issuperset(tmp_path.iterdir())
    # One file of options serves both commands, the folder in it included.
    config = tmp_path / "plan.toml"
    config.write_text('out = "r.zarr"\nviews = 3\ntrial = 8\n')
    from_file = kdrec("estimate", *asked[:-4], "--config", config, "--json", cwd=tmp_path)
    assert from_file.json["records"] == 180  # the command line wins
    assert from_file.json["trial"]["records"] == 6
    assert not (tmp_path / "r.zarr").exists()


def test_wrong_use_is_named(tmp_path: Path) -> None:
    assert kdrec("estimate", "--data", "shapes").code == 2
    wrong = kdrec("estimate", "--teacher", "pointnet", "--data", "shapes")
    assert wrong.code == 2
    assert "weights" in wrong.err
