import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.api.ranges import content_range, requested_part

SIZE = 100
WHOLE = None
NOTHING = 0


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-99", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=10-", range(10, 100)),
        ("bytes=99-", range(99, 100)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-1", range(99, 100)),
        ("bytes=-100", range(100)),
        ("bytes=-101", range(100)),
        ("BYTES= 1-2 ", range(1, 3)),
        ("bytes=5-" + "9" * 5000, range(5, 100)),
        ("bytes=-" + "9" * 5000, range(100)),
        ("bytes=007-008", range(7, 9)),
    ],
)
def test_what_exists_of_a_range_is_given(header: str, part: range) -> None:
    assert requested_part(header, SIZE) == part


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 5000 + "-"]
)
def test_a_range_beyond_the_end_is_empty(header: str) -> None:
    part = requested_part(header, SIZE)
    assert part is not None
    assert len(part) == 0
    assert content_range(part, SIZE) == "bytes */100"


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=2-1", "bytes=0-1,3-4",
        "bytes=0-1, 3-4", "items=0-1", "bytes=--1", "bytes=1", "bytes=+1-2", "bytes=1-2;",
        "bytes=٣-٤", "bytes=" + "9" * 5000 + "-1",
    ],
)  # fmt: skip
def test_what_may_be_ignored_gives_the_whole(header: str | None) -> None:
    assert requested_part(header, SIZE) is None


@given(st.text(max_size=30), st.integers(0, 50))
def test_no_header_can_ask_for_what_is_not_there(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        part = requested_part(header, size)
        assert part is None or 0 <= part.start <= part.stop <= size


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 50))
def test_a_range_is_what_slicing_gives(first: int, length: int, size: int) -> None:
    data = bytes(range(size))
    part = requested_part(f"bytes={first}-{first + length}", size)
    assert part is not None
    assert data[part.start : part.stop] == data[first : first + length + 1]
    suffix = requested_part(f"bytes=-{length}", size)
    assert suffix is not None
    assert data[suffix.start : suffix.stop] == (data[-length:] if length else b"")


def test_an_empty_file_is_always_whole() -> None:
    assert requested_part("bytes=0-", 0) is None
    assert requested_part("bytes=-5", 0) is None


def test_content_range_counts_the_last_byte() -> None:
    assert content_range(range(2, 5), 9) == "bytes 2-4/9"
