"""Templates are proven before they are needed."""

from pathlib import Path

import pytest

from cmc_notify.core.events import EventType
from cmc_notify.core.samples import sample, samples
from cmc_notify.rendering import Renderer, check_templates

BUILTIN = {
    "console": ("txt",),
    "email": ("subject", "txt", "html"),
    "slack": ("card", "mrkdwn", "txt"),
    "webhook": ("json",),
}


def _faults(tmp_path: Path, file: str, text: str, sink: str = "slack") -> list[str]:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [str(fault) for fault in check_templates(Renderer([tmp_path]), sink, BUILTIN[sink])]


@pytest.mark.parametrize("sink", BUILTIN)
def test_ours_are_all_right(sink: str) -> None:
    """Our own templates have no fault."""
    assert check_templates(Renderer(), sink, BUILTIN[sink]) == []


def test_a_fault_is_named_once_with_its_line(tmp_path: Path) -> None:
    """One mistake that every sample meets is one fault, with file and line."""
    assert _faults(tmp_path, "slack/default.mrkdwn.j2", "\n{{ evnt.id }}") == [
        (
            "slack/default.mrkdwn.j2, line 2: 'evnt' is undefined; "
            "docs/reference/templates.md lists what a template gets"
        )
    ]


def test_a_mistake_on_a_rare_path_is_found(tmp_path: Path) -> None:
    """Errors of only one event type, of a null or of a possible repeat are found too."""
    source = (
        "{% if type == 'sink.recovered' %}{{ one }}{% endif %}\n"
        "{% if possible_repeat %}{{ two }}{% endif %}\n"
        "{% if job %}\n{{ job.operation.upper() }}{% endif %}"
    )
    places = {fault.split(":")[0] for fault in _faults(tmp_path, "slack/default.mrkdwn.j2", source)}
    assert places == {f"slack/default.mrkdwn.j2, line {line}" for line in (1, 2, 4)}


def test_a_part_that_is_included_is_named(tmp_path: Path) -> None:
    """An error in a shared part is reported for that file, not of the one that includes it."""
    faults = _faults(tmp_path, "shared/headline.j2", "{{ controler }}")
    assert faults == [
        (
            "shared/headline.j2, line 1: 'controler' is undefined; "
            "docs/reference/templates.md lists what a template gets"
        )
    ]


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (
            "slack/job.fialed.mrkdwn.j2",
            "is never used: no event type is called 'job.fialed'; did you mean 'job.failed'?",
        ),
        ("slack/job.failed.html.j2", "is never used: this sink uses *.card.j2, *.mrkdwn.j2, *.txt.j2"),
        ("slack/job.failed.mrkdwn", "is never used: name it <event type>.<extension>.j2"),
        (
            "slack/zzz.txt.j2",
            "is never used: no event type is called 'zzz'; docs/reference/templates.md lists the event types",
        ),
    ],
)
def test_a_file_that_is_never_used_is_reported(tmp_path: Path, file: str, problem: str) -> None:
    """A misspelt file name would silently do nothing, so it is a fault."""
    assert _faults(tmp_path, file, "fine") == [f"{file}: {problem}"]


def test_parts_of_the_users_own_are_left_alone(tmp_path: Path) -> None:
    """A name that begins with an underscore is for including."""
    assert _faults(tmp_path, "slack/_part.j2", "fine") == []


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    """A templates_dir that is not there is a fault that names the key."""
    (fault,) = check_templates(Renderer([tmp_path / "nowhere"]), "console", ("txt",))
    assert "nowhere: is not a folder; correct templates_dir" in str(fault)


def test_invalid_json_is_found(tmp_path: Path) -> None:
    """A JSON template is only right if its result is JSON for every sample."""
    (fault,) = _faults(tmp_path, "webhook/default.json.j2", '{"id": {{ job.id if job else "" }}}', "webhook")
    assert fault.startswith("webhook/default.json.j2: the result is not valid JSON")


def test_a_block_that_no_parent_has_is_found(tmp_path: Path) -> None:
    """A misspelt block would silently do nothing, so it is a fault with its line and the likely name."""
    source = '{% extends "builtin/slack/job.failed.mrkdwn.j2" %}\n{% block headlin %}mine{% endblock %}'
    (fault,) = _faults(tmp_path, "slack/job.failed.mrkdwn.j2", source)
    assert fault == (
        "slack/job.failed.mrkdwn.j2, line 2: there is no block 'headlin' in "
        "builtin/slack/job.failed.mrkdwn.j2, so it is never used; did you mean headline?"
    )


def test_blocks_are_followed_through_every_parent(tmp_path: Path) -> None:
    """A block is known wherever above it stands, also inside one that a middle template adds to."""
    middle = (
        '{% extends "builtin/slack/default.mrkdwn.j2" %}\n'
        "{% block footer %}{{ super() }}{% block runbook %}{% endblock %}{% endblock %}"
    )
    assert _faults(tmp_path, "slack/_base.mrkdwn.j2", middle) == []
    child = (
        '{% extends "slack/_base.mrkdwn.j2" %}\n'
        "{% block headline %}mine{% endblock %}\n{% block runbook %}go/push{% endblock %}"
    )
    assert _faults(tmp_path, "slack/job.failed.mrkdwn.j2", child) == []
    (fault,) = _faults(tmp_path, "slack/job.failed.mrkdwn.j2", child.replace("runbook", "zzz"))
    assert "job.failed.mrkdwn.j2, line 3: there is no block 'zzz' in slack/_base.mrkdwn.j2" in fault
    blocks = "error, facts, failure, failures, footer, headline, recoveries, runbook"
    assert fault.endswith(f"write one of {blocks}")


def test_a_parent_chosen_while_rendering_is_not_checked(tmp_path: Path) -> None:
    """If the parent is an expression, its blocks are not known."""
    for source in (
        '{% extends "builtin/slack/" ~ "default.mrkdwn.j2" %}{% block zzz %}{% endblock %}',
        '{% if job %}{% extends "builtin/slack/default.mrkdwn.j2" %}{% endif %}{% block zzz %}{% endblock %}',
    ):
        assert _faults(tmp_path, "slack/job.failed.mrkdwn.j2", source) == []


def test_there_are_samples_of_every_type() -> None:
    """Each type has an everyday event and a hostile one, with ids of their own."""
    kinds = [event.type for event in samples()]
    assert all(kinds.count(kind) >= 2 for kind in EventType)
    everyday = [sample(kind) for kind in EventType]
    assert len({event.id for event in everyday}) == len(everyday)
    assert [event.type for event in everyday] == list(EventType)


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind.startswith(("job.", "appliance."))])
def test_samples_are_plausible(kind: EventType) -> None:
    """Results add up; what is queued has none, what succeeded or failed has all, what was canceled some."""
    job = sample(kind).job
    assert job
    counts = job.counts
    assert min(counts.pending, counts.running, counts.succeeded, counts.failed) >= 0
    assert counts.pending + counts.running + counts.succeeded + counts.failed == counts.total
    assert (counts.running > 0) == (job.status == "InProgress")
    done = counts.succeeded + counts.failed
    assert {"Queued": done == 0, "Canceled": 0 < done < counts.total, "InProgress": done < counts.total}.get(
        job.status, done == counts.total
    )
