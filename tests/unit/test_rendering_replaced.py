"""Test the user's templates: replaced files and blocks, and templates that fail."""

import html
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cmc_notify.core.events import Event, EventType, decode
from cmc_notify.core.samples import HOSTILE_TEXT, sample, samples
from cmc_notify.core.text import visible
from cmc_notify.errors import ConfigError, TemplateError
from cmc_notify.ports import Acknowledgement, Rendered, Ticket
from cmc_notify.rendering import Renderer, builtin_templates
from support.rendered_messages import DOCUMENTS, failed_event, message_of

Templates = Callable[..., Renderer]


@pytest.fixture
def faults() -> list[TemplateError]:
    """The errors passed to ``on_fallback``."""
    return []


@pytest.fixture
def templates(tmp_path: Path, faults: list[TemplateError]) -> Templates:
    """Makes a renderer over a user's folder with these files."""

    def make(**files: str | bytes) -> Renderer:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Renderer([tmp_path], on_fallback=faults.append)

    return make


def test_the_users_folder_is_searched_first(templates: Templates) -> None:
    """A file for the event type wins over the user's default, and that over ours."""
    renderer = templates(
        slack__default_mrkdwn_j2="mine: {{ type }}", slack__job_failed_mrkdwn_j2="failed: {{ job.id }}"
    )
    assert renderer.render("slack", "mrkdwn", message_of(sample(EventType.JOB_FAILED))).text == "failed: 42"
    assert (
        renderer.render("slack", "mrkdwn", message_of(sample(EventType.JOB_QUEUED))).text
        == "mine: job.queued"
    )
    assert "queued" in renderer.render("slack", "txt", message_of(sample(EventType.JOB_QUEUED))).text


def test_one_block_of_one_file_can_be_replaced(templates: Templates) -> None:
    """A template that extends ours by its name and gives one block changes that block alone."""
    renderer = templates(
        slack__job_failed_mrkdwn_j2=(
            '{% extends "builtin/slack/job.failed.mrkdwn.j2" %}'
            "{% block headline %}Call the duty officer: {{ super() }}{% endblock %}"
        )
    )
    ours = Renderer().render("slack", "mrkdwn", message_of(sample(EventType.JOB_FAILED))).text
    text = renderer.render("slack", "mrkdwn", message_of(sample(EventType.JOB_FAILED))).text
    assert text == "Call the duty officer: " + ours


def test_a_block_inside_the_loop_can_be_replaced(templates: Templates) -> None:
    """The block for one group of failures sees the group."""
    renderer = templates(
        email__default_txt_j2=(
            '{% extends "builtin/email/default.txt.j2" %}'
            "{% block failure %}* {{ group.feature }}: {{ group.error_text | oneline }}\n{% endblock %}"
        )
    )
    text = renderer.render("email", "txt", message_of(sample(EventType.JOB_FAILED))).text
    assert "* QoS: Rule 12: class 'voice' is not defined" in text


def test_shared_wording_can_be_replaced_for_all_sinks(templates: Templates) -> None:
    """A headline in the user's shared folder changes every medium, through our own templates."""
    renderer = templates()
    folder = renderer.templates_dirs[0] / "shared" / "headline"
    folder.mkdir(parents=True)
    (folder / "job.failed.j2").write_text("Auftrag {{ job.id }} ist fehlgeschlagen")
    for sink, extension in DOCUMENTS[:6]:
        text = renderer.render(sink, extension, message_of(sample(EventType.JOB_FAILED))).text
        assert "emea: Auftrag 42 ist fehlgeschlagen" in text


def test_a_sink_type_without_templates_gets_the_shared_ones() -> None:
    """A third party's sink needs no templates of its own."""
    rendered = Renderer().render("pager", "txt", message_of(sample(EventType.JOB_QUEUED)))
    assert rendered.fallback is None
    assert rendered.text.startswith("emea: push job 42 queued")


FAILING: list[tuple[str | bytes, int | None, str]] = [
    ("{{ job.id", 1, "end of print statement"),
    ("\n{% if %}", 2, "syntax"),
    ("a\n\n{{ jbo.id }}", 3, "'jbo' is undefined"),
    ("\n{{ job.missing }}", 2, "docs/reference/templates.md"),
    ("\n{{ 1 // 0 }}", 2, "ZeroDivisionError"),
    ("\n{{ 'x'.__class__.__mro__ }}", 2, "sandbox"),
    ("\n\n{{ job.__struct_fields__ }}", 3, "sandbox"),
    ("{{ failures.append(1) }}", 1, "append"),
    ("{{ job.id | nosuchfilter }}", 1, "nosuchfilter"),
    ("{{ event | safe }}", 1, "safe"),
    ("\n{% include 'nothing.j2' %}", 2, "nothing.j2"),
    ('{% extends "SELF" %}', None, "write builtin/"),
    ("{% for i in range(10000000) %}{% endfor %}", 1, "Range too big"),
    (b"caf\xe9", None, "UTF-8"),
]


@pytest.mark.parametrize(("sink", "extension"), DOCUMENTS)
@pytest.mark.parametrize("failing", FAILING, ids=str)
def test_a_failing_template_never_loses_the_alert(
    sink: str,
    extension: str,
    failing: tuple[str | bytes, int | None, str],
    templates: Templates,
    faults: list[TemplateError],
) -> None:
    """The plain message goes out in the right format, with every text, naming template, line and error."""
    source, line, reason = failing
    name = f"{sink}/job.failed.{extension}.j2"
    if isinstance(source, str):
        source = source.replace("SELF", name)
    renderer = templates(**{name.replace(".", "_").replace("/", "__"): source})
    event = failed_event(3, lambda index: f"{HOSTILE_TEXT} {index}")
    rendered = renderer.render(sink, extension, message_of(event))
    (fault,) = faults
    assert fault.template == name
    assert line is None or fault.line == line
    assert reason in fault.message
    assert rendered.fallback == str(fault)
    _assert_plain(rendered, extension, event)


def _assert_plain(rendered: Rendered, extension: str, event: Event) -> None:
    texts = [failure.error_text or "" for failure in event.failures]
    match extension:
        case "subject":
            assert rendered.text == "[cmc-notify] emea: job.failed: job 42: 3 failures"
        case "json":
            assert decode(rendered.text) == event
            assert rendered.fallback
            assert rendered.fallback in json.loads(rendered.text)["template_error"]
        case "html":
            shown = html.unescape(rendered.text)
            assert all(visible(text) in shown for text in texts)
            assert "<script" not in rendered.text
        case "mrkdwn" | "card":
            assert rendered.text.count("```") == 2
            assert "<" not in rendered.text
        case _:
            assert all(visible(text) in rendered.text for text in texts)
    assert extension == "subject" or "replaces a template" in rendered.text


def test_json_that_no_receiver_could_read_is_a_fault(
    templates: Templates, faults: list[TemplateError]
) -> None:
    """A JSON template whose result is not JSON is replaced too."""
    renderer = templates(webhook__default_json_j2='{"text": {{ job.id }}, }')
    rendered = renderer.render("webhook", "json", message_of(sample(EventType.JOB_QUEUED)))
    assert "not valid JSON" in faults[0].message
    assert decode(rendered.text) == sample(EventType.JOB_QUEUED)


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("extension", ["txt", "html", "json", "mrkdwn", "subject"])
def test_the_plain_message_stands_for_any_event(extension: str, brief: bool, templates: Templates) -> None:
    """Each sample has a plain message in each format, brief or not."""
    renderer = templates(**{f"any__default_{extension}_j2": "{{ nothing }}"})
    for event in samples():
        rendered = renderer.render("any", extension, message_of(event), brief=brief)
        assert rendered.fallback
        assert event.type in rendered.text
        if extension == "json":
            json.loads(rendered.text)


def test_templates_know_tickets_and_who_has_taken_it(templates: Templates) -> None:
    """A template can show the job's tickets, and who acknowledged it and when."""
    source = "{{ tickets[0].label }} {{ acknowledged.by }} {{ acknowledged.at | time }}"
    renderer = templates(console__job_failed_txt_j2=source)
    message = msgspec.structs.replace(
        message_of(sample(EventType.JOB_FAILED)),
        tickets=(Ticket("snow", "job:emea:1", "INC0012345", None, open=True),),
        acknowledged=Acknowledgement("anna", 1795425600.0),
    )
    expected = "INC0012345 anna 2026-11-23 09:20:00 UTC"
    assert renderer.render_strictly("console", "txt", message) == expected


def test_an_unknown_time_zone_is_refused() -> None:
    """The error names the key and shows how a time zone is written."""
    with pytest.raises(ConfigError, match=r"timezone: 'Mars/Olympus'.*Europe/Paris"):
        Renderer(timezone="Mars/Olympus")


def test_the_builtin_templates_are_found() -> None:
    """Every headline that an event type needs is there."""
    for kind in EventType:
        assert (builtin_templates() / "shared" / "headline" / f"{kind}.j2").is_file()
