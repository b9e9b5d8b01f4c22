"""What commands print can neither act on a terminal nor break a program's reader."""

import json

import pytest

from cmc_notify.cli.output import print_json

HOSTILE = "csi \x9b31m del \x7f rlo \u202e isolate \u2066 lone \ud800 plain Zürich"


def test_json_for_programs_is_harmless_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Controls and direction marks are escaped, readable letters are not, and the value is the same."""
    print_json({"text": HOSTILE})
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x9b\x7f\u202e\u2066\ud800")
    assert "Zürich" in printed
    assert json.loads(printed) == {"text": HOSTILE}
