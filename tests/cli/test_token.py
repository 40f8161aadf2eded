"""`kdrec token`, and the service that takes what it made."""

from pathlib import Path

from kdrec.client import HttpTransport
from tests.programs import kdrec, start


def test_a_token_is_made_used_listed_and_revoked(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    made = kdrec("token", "new", "--read", "mn40-*", "--tokens", tokens, "--name", "alice")
    token = made.out.strip()
    assert made.code == 0, made.err
    assert token not in made.err
    assert token not in tokens.read_text()
    again = kdrec("token", "new", "--read", "x", "--read", "y", "--tokens", tokens, "--json").json
    assert again["read"] == ["x", "y"]
    assert again["token"] != token
    served = start("serve", tmp_path, "--port", "0", "--tokens", tokens, "--host", "0.0.0.0")
    try:
        assert served.stdout is not None
        url = served.stdout.readline().strip()
        assert b'"total":0' in HttpTransport(url, token=token).get("v1/recordings")
    finally:
        served.terminate()
        served.communicate(timeout=30)
    listed = kdrec("token", "list", env={"KDREC_SERVE_TOKENS": str(tokens)})
    assert listed.out.startswith("alice")
    assert "mn40-*" in listed.out
    assert kdrec("token", "revoke", "alice", "--tokens", tokens).code == 0
    assert kdrec("token", "revoke", "alice", "--tokens", tokens).code == 3
    left = kdrec("token", "list", "--tokens", tokens, "--json").json["tokens"]
    assert [entry["name"] for entry in left] == [again["name"]]


def test_what_cannot_be_a_token_is_refused(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    for wrong in (["--read", "a/b"], ["--read", "a", "--name", "a b"], []):
        assert kdrec("token", "new", "--tokens", tokens, *wrong).code == 2
    assert kdrec("token", "new", "--read", "a", "--tokens", tokens, "--name", "a").code == 0
    assert kdrec("token", "new", "--read", "b", "--tokens", tokens, "--name", "a").code == 5
    assert kdrec("serve", tmp_path, "--tokens", tmp_path / "nowhere").code == 3
