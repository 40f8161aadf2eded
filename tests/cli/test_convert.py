"""`kdrec convert`, as a user runs it."""

from pathlib import Path

import pytest

from kdrec.testing import make_recording
from tests.programs import kdrec


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("convert") / "r.zarr"
    make_recording(path)
    return path


def test_fewer_views_and_samples_in_another_encoding(recording: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("0\n7\n19\n")
    out = tmp_path / "small.zarr"
    options = ("--views", "3:5", "--samples", numbers, "--encoding", "half", "--group", "1")
    done = kdrec("convert", recording, out, *options)
    assert done.code == 0, done.err
    assert "2 views x 3 samples, all read back" in done.out
    assert "teacher to stored" in done.out
    assert kdrec("verify", out, "--bytes").code == 0
    shown = kdrec("inspect", out).out
    origin = kdrec("inspect", recording, "--json").json["identity"]
    assert f"converted from     {origin}, exact, from its view 3" in shown
    again = kdrec("convert", recording, out, *options, "--json")
    assert again.json["origin"] == origin
    assert [bound["relative"] for bound in again.json["bounds"]] == [0, 2**-11]


def test_wrong_use_is_named(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.zarr"
    words = tmp_path / "words.txt"
    words.write_text("1\nseven\n")
    for samples, code, message in (
        (words, 2, "'seven'"),
        (tmp_path / "nothing.txt", 3, "a file of numbers"),
        ("0:21", 2, "0 to 19"),
        ("5:5", 2, "got none"),
    ):
        done = kdrec("convert", recording, out, "--samples", samples)
        assert done.code == code, done.err
        assert message in done.err
    assert kdrec("convert", tmp_path / "no.zarr", out).code == 3
    # A dial alone asks the encoding it has for another fidelity, and this one has no dial.
    done = kdrec("convert", recording, out, "--max-kl", "1e-3")
    assert (done.code, "encoding exact has no max_kl" in done.err) == (2, True), done.err
    assert not out.exists()
