# ruff: noqa: E501  a template's line is a line
"""A user's template can do no harm: each way of taking too much time or memory ends early, and is named."""

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cmc_notify.core.events import Event, EventType, Failure, decode
from cmc_notify.core.samples import sample
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer

DOUBLING = "{%% set ns = namespace(x=%s) %%}\n{%% for i in range(64) %%}{%% set ns.x = %s %%}{%% endfor %%}"
HARMFUL = {
    "nested loops": "{% for a in range(99999) %}\n{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "nested loops with output": "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "a loop's condition": "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}",
    "a macro without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "macros that branch": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a recursive loop": "{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "including itself": "{% include 'slack/job.failed.txt.j2' %}",
    "including itself twice": "{% for a in range(9) %}{% include 'slack/job.failed.txt.j2' %}{% endfor %}",
    "doubling by ~": DOUBLING % ("'ab'", "ns.x ~ ns.x"),
    "doubling by +": DOUBLING % ("'ab'", "ns.x + ns.x"),
    "doubling by *": DOUBLING % ("'ab'", "ns.x * 2"),
    "doubling by format": DOUBLING % ("'ab'", "'%s%s' | format(ns.x, ns.x)"),
    "doubling by .format": DOUBLING % ("'ab'", "'{0}{0}'.format(ns.x)"),
    "doubling by replace": DOUBLING % ("'ab'", "ns.x | replace('a', 'aa') | replace('b', 'bb')"),
    "doubling by .replace": DOUBLING % ("'ab'", "ns.x.replace('b', ns.x)"),
    "doubling by join": DOUBLING % ("'ab'", "[ns.x, ns.x] | join"),
    "doubling by .join": DOUBLING % ("'ab'", "''.join([ns.x, ns.x])"),
    "doubling a list": DOUBLING % ("[1]", "ns.x + ns.x"),
    "doubling a list by *": DOUBLING % ("[1]", "ns.x * 2"),
    "a list in itself twice": DOUBLING % ("[1]", "[ns.x, ns.x]") + "{{ ns.x }}",
    "a tuple in itself twice": DOUBLING % ("(1, 2)", "(ns.x, ns.x)") + "{{ {ns.x: 1} }}",
    "a mapping in itself twice": DOUBLING % ("1", "{'a': ns.x, 'b': ns.x}") + "{{ ns.x | json }}",
    "batches in one another": DOUBLING % ("[1]", "(ns.x * 2) | batch(2) | list"),
    "a set block": "{% macro m(n) %}{% set x %}{{ n }}{{ n }}{% endset %}{{ m(x) }}{% endmacro %}{{ m('ab') }}",
    "a huge number": "{{ 10 ** (10 ** 10) }}",
    "a number that grows": DOUBLING % ("9", "ns.x * ns.x"),
    "a long text by *": "{{ 'x' * 999999999 }}",
    "a long list by *": "{{ [1] * 999999999 }}",
    "a width": "{{ '%999999999d' % 1 }}",
    "a width by *": "{{ '%*d' % (999999999, 1) }}",
    "a precision": "{{ '%.999999999f' | format(1) }}",
    "a width of .format": "{{ '{:999999999}'.format(1) }}",
    "a width from a value": "{{ '{:{}}'.format(1, 999999999) }}",
    "the filter center": "{{ 'x' | center(999999999) }}",
    "the method center": "{{ 'x'.center(999999999) }}",
    "the method ljust": "{{ 'x'.ljust(999999999) }}",
    "the method zfill": "{{ 'x'.zfill(999999999) }}",
    "the method expandtabs": "{{ '\t'.expandtabs(999999999) }}",
    "bytes of a number": "{{ (1).to_bytes(999999999, 'big') }}",
    "the filter indent": "{{ 'a\nb' | indent(999999999) }}",
    "the filter batch": "{{ [1] | batch(999999999, 'x') | list }}",
    "the filter slice": "{{ [1] | slice(999999999) | list }}",
    "the filter round": "{{ 1.5 | round(999999999, 'floor') }}",
    "the filter wordwrap": "{{ ('x' * 60000) | wordwrap(1) }}",
    "the filter striptags": "{{ ('<!---->' * 99999) | striptags }}",
    "the filter sum": "{{ [range(99999) | list, range(99999) | list] | sum(start=[]) }}",
    "the filter title": "{{ ('a b ' * 999999) | title }}",
    "the filter list": "{{ ('\u20ac' * 999999) | list }}",
    "the method split": "{{ ('a ' * 9999999).split() }}",
    "joining a giant list": "{{ (['x' * 99999] * 99999) | join(',') }}",
    "sorting giant texts": "{{ (['x' * 99999] * 99999) | sort }}",
    "comparing giant lists": "{{ (['x' * 99999] * 99999) == (['x' * 99998 ~ 'x'] * 99999) }}",
    "a long range": "{{ range(10 ** 9) | list }}",
    "slices of a text": "{% set x = 'x' * 999999 %}{% for i in range(9999) %}{% set y = [x[1:], x[2:], x[3:]] %}{% endfor %}",
    "names without end": "{% for i in range(9999) %}{% include 'builtin/slack/' ~ i ~ '.txt.j2' %}{% endfor %}",
    "lorem ipsum": "{{ lipsum(999999) }}",
    "a mapping of a range": "{{ {}.fromkeys(range(99999)) }}{{ ''.maketrans('a', 'b') }}",
    "attributes through map": "{{ ['x'] | map('attr', '__class__') | list }}{{ ['x'] | map(attribute='__class__') | map('upper') | list }}",
    "attributes through format": "{{ '{0.__class__.__mro__}'.format('x') }}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "globals of a function": "{{ range.__globals__ }}{{ cycler.__init__.__globals__ }}",
    "namespaces in one another": DOUBLING % ("1", "namespace(a=ns.x, b=ns.x)") + "{{ ns.x }}",
    "a chain of tuples": "{% set ns = namespace(x=(1,)) %}{% for i in range(99999) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}",
    "calls of calls": "{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}{% endmacro %}{{ r() }}",
    "a width through map": "{{ ['%999999999d'] | map('format', 1) | list }}",
    "a macro's own text": "{% macro m() %}{% for i in range(99999) %}" + "A" * 90_000 + "{% endfor %}{% endmacro %}{{ m() }}",
    "imports without end": "{% for i in range(99999) %}{% import 'shared/words.j2' as w with context %}{% endfor %}",
    "without escaping": "{% autoescape false %}{{ 'x' * 999999999 }}{% endautoescape %}",
    "a long template": "{{ type }}" * 12_000,
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}  # fmt: skip


@pytest.fixture
def faults() -> list[TemplateError]:
    """The errors passed to ``on_fallback``."""
    return []


@pytest.fixture
def renderer_of(tmp_path: Path, faults: list[TemplateError]) -> Callable[..., Renderer]:
    """Makes a renderer over one file of a user's."""

    def make(
        source: str, file: str = "slack/job.failed.txt.j2", clock: Callable[[], float] = time.monotonic
    ) -> Renderer:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return Renderer([tmp_path], on_fallback=faults.append, clock=clock)

    return make


@pytest.mark.parametrize("harm", HARMFUL)
def test_harm_ends_early_and_the_alert_arrives(
    harm: str, renderer_of: Callable[..., Renderer], faults: list[TemplateError]
) -> None:
    """Within two seconds and 100 MB the plain message with every text stands in, naming file and line."""
    renderer = renderer_of(HARMFUL[harm])
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    began = time.thread_time()
    rendered = renderer.render("slack", "txt", message)
    assert time.thread_time() - began < 2
    (fault,) = faults
    assert fault.template == "slack/job.failed.txt.j2"
    assert fault.line or harm == "deep parentheses"
    assert len(fault.message) < 400
    assert "class 'voice' is not defined" in rendered.text
    assert rendered.fallback == str(fault)


@pytest.mark.parametrize(
    "harm",
    [name for name in HARMFUL if name.startswith(("doubling", "a list in", "a long", "joining", "the"))],
)
def test_harm_takes_little_memory(harm: str, renderer_of: Callable[..., Renderer]) -> None:
    """A growing value is stopped while it is small."""
    renderer = renderer_of(HARMFUL[harm])
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    tracemalloc.start()
    try:
        assert renderer.render("slack", "txt", message).fallback
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000


def test_what_ran_out_of_time_is_left_alone_for_a_while(
    renderer_of: Callable[..., Renderer], faults: list[TemplateError]
) -> None:
    """The next deliveries get the plain message at once and are counted; minutes later it is tried again."""
    now = [0.0]
    renderer = renderer_of(HARMFUL["nested loops"], clock=lambda: now[0])
    message = Message(key="k", event=sample(EventType.JOB_FAILED))
    renderer.render("slack", "txt", message)
    began = time.thread_time()
    texts = {renderer.render("slack", "txt", message).text for _ in range(100)}
    assert time.thread_time() - began < 0.5
    assert len(texts) == 1
    assert len({str(fault) for fault in faults}) == 1
    assert len(faults) == 101
    now[0] = 301.0
    began = time.thread_time()
    renderer.render("slack", "txt", message)
    assert time.thread_time() - began > 0.5


def test_a_smaller_event_is_tried_all_the_same(renderer_of: Callable[..., Renderer]) -> None:
    """A template that failed for a giant job may work for a normal one."""
    renderer = renderer_of(
        "{% for a in failures %}{% for b in failures %}{% for c in failures %}{% endfor %}{% endfor %}{% endfor %}ok"
    )
    one = Failure("V", "h", 1, "F", "text", new=True)
    small = sample(EventType.JOB_FAILED)
    giant = msgspec.structs.replace(small, failures=(one,) * 1000)
    assert renderer.render("slack", "txt", Message(key="k", event=giant)).fallback
    assert renderer.render("slack", "txt", Message(key="k", event=small)).text == "ok"


def test_a_users_block_in_our_template_is_bounded(
    renderer_of: Callable[..., Renderer], faults: list[TemplateError]
) -> None:
    """Trust ends where the user's file begins, also in the middle of ours."""
    renderer = renderer_of(
        '{% extends "builtin/slack/job.failed.txt.j2" %}\n{% block facts %}\n'
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endblock %}"
    )
    assert renderer.render("slack", "txt", Message(key="k", event=sample(EventType.JOB_FAILED))).fallback
    assert (faults[0].template, faults[0].line) == ("slack/job.failed.txt.j2", 3)
    assert "runs longer than 1.0 s" in faults[0].message


def giant(number: int = 2000) -> Event:
    """Many failures with a text each."""
    failures = tuple(
        Failure(f"V{index}", f"host-{index}", 3, "QoS", f"{index} " + "e" * 490, new=True)
        for index in range(number)
    )
    return msgspec.structs.replace(sample(EventType.JOB_FAILED), failures=failures)


REASONABLE = """{% extends "builtin/slack/job.failed.txt.j2" %}
{% macro line(member) %}- {{ member | name }}{% endmacro %}
{% block failure %}
{% set list %}{% for member in group.members %}{{ line(member) }}{% endfor %}{% endset %}
{{ loop.index if loop else "" }} {{ group.feature ~ ": " ~ list }} {{ "%s of %d" | format(group.feature, groups | length) }}
{{ group.error_text | replace("e", "E") | upper | indent(2) }} {{ group.error_text.split(" ")[0].center(9) }}
{% endblock %}
{% block facts %}{{ failures | map(attribute="serial") | select | unique | sort | join(", ") }}
{{ failures | groupby("feature") | length }} {{ (failures | first).error_text[:3] * 2 }}{% endblock %}
"""


def test_a_reasonable_template_has_room_for_many_failures(renderer_of: Callable[..., Renderer]) -> None:
    """Blocks, macros, set blocks, filters and methods do as in Jinja, also for thousands of long texts."""
    renderer = renderer_of(REASONABLE.replace('{{ loop.index if loop else "" }} ', ""))
    rendered = renderer.render("slack", "txt", Message(key="k", event=giant()))
    assert rendered.fallback is None
    assert rendered.text.count("E" * 490) == 2000
    assert "V0, V1, V10, V100" in rendered.text
    assert "0 e0 e" in rendered.text


def test_json_escapes_cannot_be_used_to_grow(renderer_of: Callable[..., Renderer]) -> None:
    """The event stays whole in the plain JSON, whatever the user's body wanted to become."""
    renderer = renderer_of("\"{{ '\\u0001' * 9999999 }}\"", "webhook/default.json.j2")
    event = sample(EventType.JOB_FAILED)
    rendered = renderer.render("webhook", "json", Message(key="k", event=event))
    assert rendered.fallback
    assert decode(rendered.text) == event
