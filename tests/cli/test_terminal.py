"""What the program says stands on the terminal as it was meant."""

import pytest

from kdrec.cli.terminal import say, say_error, show_rows, size

TEXT = "no file [bold]a:x:b[/] in /data/:cat:"


def test_brackets_and_colons_of_a_message_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say(TEXT)
    say_error(TEXT)
    show_rows({"recording": TEXT})
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [TEXT, f"kdrec: {TEXT}"]
    assert shown.out.splitlines() == [f"recording  {TEXT}"]


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_sizes_are_said_in_binary_units(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text
