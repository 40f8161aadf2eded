import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.api.names import RecordingAddress, folder_names, recording_name
from kdrec.errors import NotFoundError


@pytest.mark.parametrize("name", ["mn40", "a.b", "A_b-1", "-", "x.zarr", "mn40."])
def test_names_that_are_allowed(name: str) -> None:
    assert RecordingAddress.parse(name) == RecordingAddress(name, None)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "a\0", "é", "٣", "%2e", "x" * 201, "~"],
)
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(NotFoundError, match="names are up to 200 letters"):
        RecordingAddress.parse(name)


def test_an_identity_follows_the_name() -> None:
    assert RecordingAddress.parse("mn@4f") == RecordingAddress("mn", "4f")
    assert RecordingAddress.parse("mn@") == RecordingAddress("mn", "")


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True))
def test_every_folder_of_a_name_has_that_name(name: str) -> None:
    assert {recording_name(folder) for folder in folder_names(name)} == {name}
    assert f"{name}.zarr" in folder_names(name)


def test_a_recording_has_one_address_only() -> None:
    assert recording_name("mn.zarr") == "mn"
    assert "mn.zarr" not in folder_names("mn.zarr")
