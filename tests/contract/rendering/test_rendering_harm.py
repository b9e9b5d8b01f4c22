"""Whatever document a template of a user's is for, its faults lose no alert and name file and line.

Each kind of document that any sink or preset asks for is tried, also those that come later.
"""

import html
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer, check_templates
from cmc_notify.sinks.plugin import load_plugins

PLUGINS = load_plugins()
DOCUMENTS = [(kind, extension) for kind, plugin in PLUGINS.items() for extension in plugin.extensions]
OF_PRESETS = [
    (preset, extension)
    for plugin in PLUGINS.values()
    for preset, extensions in plugin.presets.items()
    for extension in extensions
]
HARM = {
    "syntax error": ("{{ job.id", 1, "print statement"),
    "undefined name": ("{{ type }}\n{{ jbo.id }}", 2, "'jbo' is undefined"),
    "endless loop": (f"\n\n{2 * '{% for a in range(9999) %}'}{2 * '{% endfor %}'}", 3, "longer"),
    "huge output": ("\n{{ 'x' * 999999999 }}", 2, "MB of text"),
    "Python internals": ("\n{{ ''.__class__.__mro__[1].__subclasses__() }}", 2, "sandbox"),
}  # fmt: skip


@pytest.fixture
def faults() -> list[TemplateError]:
    """The errors passed to ``on_fallback``."""
    return []


@pytest.fixture
def renderer_of(
    tmp_path: Path, faults: list[TemplateError], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Renderer]:
    """Makes a renderer over one file of a user's, which gets less time here than in a bridge."""
    monkeypatch.setattr("cmc_notify.rendering.budget.SECONDS", 0.02)

    def make(file: str, source: str) -> Renderer:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return Renderer([tmp_path], on_fallback=faults.append)

    return make


def test_every_kind_of_document_is_tried() -> None:
    """Chat, its card and list, mail with both of its subjects, machines, presets."""
    assert {("slack", "card"), ("slack", "txt"), ("email", "topic"), ("email", "html"), ("webhook", "json"),
            ("pagerduty", "json"), ("console", "txt")} <= {*DOCUMENTS, *OF_PRESETS}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "extension", "harm"),
    [
        *((*document, harm) for document in DOCUMENTS for harm in HARM),
        *((*document, "undefined name") for document in OF_PRESETS),
    ],
)
def test_the_alert_arrives_and_the_fault_is_named(
    folder: str,
    extension: str,
    harm: str,
    renderer_of: Callable[[str, str], Renderer],
    faults: list[TemplateError],
) -> None:
    """The plain message has every text, the error its place, and the next document comes out as ever."""
    source, line, said = HARM[harm]
    file = f"{folder}/default.{extension}.j2"
    renderer = renderer_of(file, source)
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    began = time.thread_time()
    rendered = renderer.render(folder, extension, message)
    assert time.thread_time() - began < 2
    [fault] = faults
    assert (fault.template, fault.line) == (file, line)
    assert said in fault.message
    assert rendered.fallback == str(fault)
    text = html.unescape(rendered.text)
    assert "emea" in text
    if extension not in ("subject", "topic"):
        assert "class 'voice' is not defined" in text
        assert f"{file}, line {line}" in text
    if extension == "json":
        msgspec.json.decode(rendered.text)
    other = renderer.render("another", "json" if extension != "json" else "subject", message)
    assert other.fallback is None


@pytest.mark.parametrize("harm", sorted({*HARM} - {"endless loop"}))
def test_check_finds_it_before_any_alert(harm: str, renderer_of: Callable[[str, str], Renderer]) -> None:
    """In a card as in any document, ``check`` names file, line and remedy."""
    source, line, said = HARM[harm]
    fault = check_templates(renderer_of("slack/job.failed.card.j2", source), "slack", ("card",))[0]
    assert (fault.template, fault.line) == ("slack/job.failed.card.j2", line)
    assert said in fault.message
