import hmac
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.api import TOKEN_BYTES, TokenEntry, TokenFile, make_token
from kdrec.api.tokens import Grant, authorize, token_digest
from kdrec.errors import (
    AlreadyExistsError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    ServiceError,
    StorageError,
)

TOKEN, OTHER = make_token(bytes(TOKEN_BYTES)), make_token(b"\1" * TOKEN_BYTES)
ENTRY = TokenEntry.of(TOKEN, name="alice", patterns=["mn40-*", "shapes"])


def test_a_token_is_long_and_fit_for_a_header() -> None:
    assert TOKEN.startswith("kdrec_")
    assert len(TOKEN) >= 43
    assert TOKEN.isascii()
    assert TOKEN.isprintable()
    assert TOKEN != OTHER


def test_the_entry_does_not_hold_the_token() -> None:
    assert TOKEN not in ENTRY.line
    assert token_digest(TOKEN) in ENTRY.line
    assert TokenEntry.parse(ENTRY.line) == ENTRY


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} "])
def test_the_bearer_of_a_token_gets_its_patterns(header: str) -> None:
    assert authorize(header, [ENTRY]) == Grant("alice", ("mn40-*", "shapes"))


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {OTHER}",
        f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {ENTRY.sha256}", "Bearer é", "Bearer \0",
    ],
)  # fmt: skip
def test_whoever_has_none_is_refused_and_no_message_repeats_it(header: str | None) -> None:
    with pytest.raises(ServiceError, match="KDREC_TOKEN") as refusal:
        authorize(header, [ENTRY])
    assert refusal.value.kind is ErrorKind.UNAUTHENTICATED
    for secret in (TOKEN, OTHER, ENTRY.sha256):
        assert secret not in str(refusal.value)


@pytest.mark.parametrize("place", [0, 3, 9])
def test_every_entry_is_compared_in_constant_time_wherever_the_right_one_is(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: one whole comparison an entry, whether or not one before it matched."""
    entries = [TokenEntry.of(f"x{n}", name=f"n{n}", patterns=["*"]) for n in range(10)]
    entries[place] = ENTRY
    seen: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def counted(stored: str, presented: str) -> bool:
        seen.append((stored, presented))
        return compare(stored, presented)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    assert authorize(f"Bearer {TOKEN}", entries).name == "alice"
    assert [stored for stored, _ in seen] == [entry.sha256 for entry in entries]
    assert {len(presented) for _, presented in seen} == {64}


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("mn40-*", "mn40-a", True),
        ("mn40-*", "mn40-", True),
        ("mn40-*", "mn40", False),
        ("mn40-*", "xmn40-a", False),
        ("*", "anything", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("MN", "mn", False),
    ],
)
def test_a_pattern_covers_whole_names(pattern: str, name: str, covered: bool) -> None:
    assert Grant("x", ("nothing", pattern)).may_read(name) is covered


@pytest.mark.parametrize(
    "line",
    [
        "alice", "alice 00", f"alice {ENTRY.sha256}", f"al/ice {ENTRY.sha256} *",
        f"alice {ENTRY.sha256} [a-z]", f"alice {ENTRY.sha256.upper()} *", f"alice {TOKEN} *",
        f"alice {ENTRY.sha256} ../x", f"{'a' * 65} {ENTRY.sha256} *",
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(InvalidInputError):
        TokenEntry.parse(line)


@given(st.text(max_size=80))
def test_no_line_does_anything_but_parse_or_be_refused(line: str) -> None:
    try:
        entry = TokenEntry.parse(line) if line.split() else None
    except InvalidInputError:
        return
    assert entry is None or TokenEntry.parse(entry.line) == entry


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "deep" / "tokens")


def test_what_is_added_is_found_at_once_and_after_removal_no_more(
    file: TokenFile, tmp_path: Path
) -> None:
    running = TokenFile(tmp_path / "deep" / "tokens")
    assert running.current() == ()
    file.add(ENTRY)
    assert running.current() == (ENTRY,)
    second = TokenEntry.of(OTHER, name="bob", patterns=["*"])
    file.add(second)
    assert running.current() == (ENTRY, second)
    file.remove("alice")
    assert running.current() == (second,)
    (tmp_path / "deep" / "tokens").unlink()
    assert running.current() == ()


def test_the_file_is_for_its_owner_and_keeps_what_people_write(
    file: TokenFile, tmp_path: Path
) -> None:
    file.add(ENTRY)
    path = tmp_path / "deep" / "tokens"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    path.write_text(path.read_text() + "# the one of the laboratory")
    file.add(TokenEntry.of(OTHER, name="bob", patterns=["*"]))
    assert path.stat().st_mode & 0o777 == 0o640
    assert "# the one of the laboratory\nbob " in path.read_text()
    assert TOKEN not in path.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_root_changes_stays_readable_for_its_owner(
    file: TokenFile, tmp_path: Path
) -> None:
    file.add(ENTRY)
    path = tmp_path / "deep" / "tokens"
    os.chown(path, 10002, 10000)
    file.remove("alice")
    assert (path.stat().st_uid, path.stat().st_gid) == (10002, 10000)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_is_given_once(file: TokenFile) -> None:
    file.add(ENTRY)
    with pytest.raises(AlreadyExistsError, match="has a token alice"):
        file.add(ENTRY)
    with pytest.raises(NotFoundError, match="has no token bob"):
        file.remove("bob")


def test_a_damaged_line_grants_nothing_and_the_others_count(
    file: TokenFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.add(ENTRY)
    path = tmp_path / "deep" / "tokens"
    path.write_text(path.read_text() + f"mallory {token_digest(OTHER)[:-1]} *\n")
    assert file.current() == (ENTRY,)
    assert "line 3 of" in caplog.text
    with pytest.raises(InvalidInputError, match="line 3 of"):
        file.check()


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_grants_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "tokens"
    path.mkdir() if content is None else path.write_bytes(content)
    assert TokenFile(path).current() == ()
    assert "no token is usable" in caplog.text
    with pytest.raises(StorageError, match="cannot be read"):
        TokenFile(path).check()
