"""Templates that are shipped are compiled once in a process; what users write is compiled as it is now."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer
from cmc_notify.rendering.bytecode_cache import _CODE, _KEPT
from cmc_notify.rendering.formats import format_of

MESSAGE = Message(key="k", event=sample(EventType.JOB_FAILED))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were compiled."""
    files: list[str] = []
    really = Environment.compile

    def seen(self: Environment, source: str, name: str | None, filename: str | None, **more: Any) -> Any:
        files.append(str(filename))
        return really(self, source, name, filename, **more)

    monkeypatch.setattr(Environment, "compile", seen)
    return files


def test_a_new_renderer_compiles_nothing_of_ours_again(compiled: list[str]) -> None:
    """A reload's renderer says the same as the one before, without its work."""
    before = Renderer().render_strictly("email", "html", MESSAGE)
    compiled.clear()
    assert Renderer().render_strictly("email", "html", MESSAGE) == before
    assert compiled == []


def test_what_depends_on_more_than_the_template_is_apart(tmp_path: Path) -> None:
    """A constant is worked out while compiling: in each format and time zone anew."""
    folder = tmp_path / "pager"
    folder.mkdir()
    for extension in ("txt", "html"):
        (folder / f"default.{extension}.j2").write_text("{{ '2026-11-23T09:00:00Z' | localtime }} {{ '<' }}")

    def render(timezone: str, extension: str) -> str:
        renderer = Renderer(plugin_dirs={"pager": tmp_path}, timezone=timezone)
        return renderer.render_strictly("pager", extension, MESSAGE)

    for _ in range(2):
        assert render("UTC", "txt") == "2026-11-23 09:00:00 UTC <"
        assert render("Asia/Tokyo", "txt") == "2026-11-23 18:00:00 JST <"
        assert render("UTC", "html") == "2026-11-23 09:00:00 UTC &lt;"


@pytest.mark.parametrize("kind", ["user", "plugin"])
def test_a_file_that_has_changed_counts(kind: str, tmp_path: Path) -> None:
    """The next renderer takes what the file holds now, whoever it is from."""
    path = tmp_path / "pager" / "default.txt.j2"
    path.parent.mkdir()
    for text in ("one", "two"):
        path.write_text(text)
        of_kind = Renderer([tmp_path]) if kind == "user" else Renderer(plugin_dirs={"pager": tmp_path})
        assert of_kind.render_strictly("pager", "txt", MESSAGE) == text


def test_what_users_write_is_not_kept(compiled: list[str], tmp_path: Path) -> None:
    """A reload reads it anew."""
    path = tmp_path / "pager" / "default.txt.j2"
    path.parent.mkdir()
    path.write_text("mine")
    for _ in range(2):
        assert Renderer([tmp_path]).render_strictly("pager", "txt", MESSAGE) == "mine"
    assert compiled == [str(path)] * 2


def test_names_without_end_fill_no_memory(tmp_path: Path) -> None:
    """However many names a user's template finds for ours, so many are kept and no more."""
    (tmp_path / "pager").mkdir()
    (tmp_path / "pager" / "default.txt.j2").write_text("ours")
    environment = Renderer(plugin_dirs={"pager": tmp_path}).environment(format_of("txt"))
    for number in range(_KEPT + 10):
        environment.get_template(f"builtin/pager/{number}.txt.j2")
    assert len(_CODE) == _KEPT
