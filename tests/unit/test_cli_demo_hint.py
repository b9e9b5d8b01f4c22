"""What the demo tells a newcomer to type works where they are."""

import sys
from pathlib import Path

import pytest

from cmc_notify.cli.demo import own_command


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a virtual environment that is not on PATH, and we are in it."""
    program = tmp_path / ".venv" / "bin" / "cmc-notify"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.setattr(sys, "argv", ["/src/cmc_notify/__main__.py", "demo"])
    return program


@pytest.mark.usefixtures("place")
def test_in_a_checkout_it_is_in_the_venv() -> None:
    """``make demo`` starts a module of a venv that is not activated."""
    assert own_command() == ".venv/bin/cmc-notify"


def test_on_the_path_it_is_its_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an activated venv the name is enough."""
    monkeypatch.setenv("PATH", str(place.parent))
    assert own_command() == "cmc-notify"


def test_elsewhere_it_is_where_it_was_called(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder the whole path is named."""
    (elsewhere := place.parent / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "argv", [str(place), "demo"])
    assert own_command() == str(place)


def test_without_a_program_it_is_the_module(place: Path) -> None:
    """A checkout that was never installed has only the module."""
    place.unlink()
    assert own_command() == f"{sys.executable} -m cmc_notify"
