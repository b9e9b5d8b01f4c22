"""What commands print can neither act on a terminal nor break a program's reader."""

import io
import json
import sys

import pytest

from cmc_notify.cli.output import MAX_CELL, brief, print_json, print_table

HOSTILE = "csi \x9b31m del \x7f rlo \u202e isolate \u2066 lone \ud800 plain Zürich"


def test_json_for_programs_is_harmless_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Controls and direction marks are escaped, readable letters are not, and the value is the same."""
    print_json({"text": HOSTILE})
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x9b\x7f\u202e\u2066\ud800")
    assert "Zürich" in printed
    assert json.loads(printed) == {"text": HOSTILE}


class _Screen(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


ID = "01a209486a7e00000165eb6ab8b7c6-tickets"
COLUMNS = ("id", "event", "sink", "answer")


def test_a_narrow_screen_breaks_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit stands on a line under its row; the id is whole and no line is too long."""
    screen = _Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    rows = [(ID, "appliance.recovered", "tickets", "no " * 60), (ID, "job.failed", "tickets", None)]
    print_table(COLUMNS, rows, empty="", below=("id", "answer"))
    head, first, under, second, bare = screen.getvalue().splitlines()
    assert head.split() == ["event", "sink"]
    assert first.split() == ["appliance.recovered", "tickets"]
    assert under.startswith(f"  {ID}  no no")
    assert under.endswith("…")
    assert max(map(len, (head, first, under, second, bare))) <= 80
    assert bare == f"  {ID}"


def test_a_pipe_gets_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is broken to fit, and nothing is padded behind the last column, however long another is."""
    print_table(COLUMNS, [(ID, "a", "b", "x" * 5000), (ID, "a", "b", "short")], empty="", below=("id",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2] == f"{ID}  a      b     short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("one\ntwo", "one …"), ("x" * 300, "x" * MAX_CELL + "…"), (None, None), ("", "")],
)
def test_a_list_has_the_beginning_of_a_text(text: str | None, shown: str | None) -> None:
    """The first line, cut where it is long, with a sign where more follows."""
    assert brief(text) == shown
