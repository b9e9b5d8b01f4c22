"""The examples in docs/reference/templates.md work."""

import re
from pathlib import Path

import pytest

from cmc_notify.core.events import Event, EventType
from cmc_notify.core.samples import sample
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer
from cmc_notify.rendering.environment import FormatEnvironment
from cmc_notify.rendering.formats import format_of

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "templates.md").read_text()
EXAMPLES = re.findall(r"^\| `(\{\{ .+? \}\})` \| `(.+)` \|$", PAGE, re.MULTILINE)


def test_there_are_examples() -> None:
    """The page is really read."""
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize(("source", "printed"), EXAMPLES)
def test_each_example_prints_what_the_page_says(source: str, printed: str, tmp_path: Path) -> None:
    """Of the sample event, in a user's template."""
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "default.txt.j2").write_text(source.replace("\\|", "|"))
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    assert Renderer([tmp_path]).render_strictly("console", "txt", message) == printed


def test_the_whole_message_prints_what_the_page_says(tmp_path: Path) -> None:
    """The first template that is followed by its output gives it."""
    [(source, printed)] = re.findall(r"```jinja\n([^`]*)```\n\n```text\n([^`]*)```", PAGE)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "job.failed.txt.j2").write_text(source)
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    assert Renderer([tmp_path]).render_strictly("console", "txt", message).strip() == printed.strip()


def test_every_filter_and_field_is_on_the_page() -> None:
    """Nothing that a template gets is a secret."""
    environment: FormatEnvironment = Renderer().environment(format_of("txt"))
    ours = {
        name
        for name, each in environment.filters.items()
        if "cmc_notify.rendering.filters" in each.__module__
    }
    for name in ours | {"by_error", "localtime", "json"}:
        assert re.search(rf"\| {name}\b", PAGE.replace("\\|", "|")), name
    for field in Event.__struct_fields__:
        assert f"`{field}`" in PAGE, field
