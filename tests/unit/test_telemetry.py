"""Logs and metrics: one stream, one format, no secrets, no global registry."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from cmc_notify.telemetry import REMOVED, LoggedReasons, Metrics, configure_logging

Style = Literal["json", "console"]
Level = Literal["info", "warning", "error"]


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger("cmc_notify")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Every line of a JSON log."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_names_time_level_logger_and_fields() -> None:
    """One call gives one JSON line with the fields that the documentation names."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.get_logger("cmc_notify.poller").info("poll done", controller="emea", jobs=3)
    (line,) = lines(stream)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "poll done",
        "level": "info",
        "logger": "cmc_notify.poller",
        "controller": "emea",
        "jobs": 3,
    }


def test_libraries_use_the_same_pipe() -> None:
    """A record of the standard library's logging becomes the same kind of line."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    logging.getLogger("apscheduler.scheduler").warning("run of job %s missed", "poll")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("run of job poll missed", "warning")
    assert line["logger"] == "apscheduler.scheduler"


def test_libraries_never_log_their_debug_lines() -> None:
    """With level debug our own debug lines show; those of libraries, which hold statements, do not."""
    stream = io.StringIO()
    configure_logging("json", "debug", stream)
    logging.getLogger("aiosqlite").debug("INSERT INTO secrets VALUES (?)")
    logging.getLogger("alembic").info("migrated")
    structlog.get_logger("cmc_notify.store").debug("ours")
    assert [line["event"] for line in lines(stream)] == ["migrated", "ours"]


@pytest.mark.parametrize(("level", "shown"), [("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_dropped(level: Level, shown: int) -> None:
    """The configured level holds for the bridge's own lines."""
    stream = io.StringIO()
    configure_logging("json", level, stream)
    log = structlog.get_logger("cmc_notify.x")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("line")
    assert len(lines(stream)) == shown


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2"},
        {"Authorization": "hunter2"},
        {"access_code": "hunter2"},
        {"headers": {"X-Api-Key": "k", "Set-Cookie": "hunter2"}},
        {"attempts": [{"password": "hunter2"}]},
        {"url": "https://user:hunter2@cmc.example.net/api"},
        {"url": "/events/1?expires=5&signature=hunter2"},
        {"reason": "refused: Bearer hunter2"},
        {"reason": "refused: Basic hunter2=="},
    ],
)
def test_no_secret_is_logged(style: Style, fields: dict[str, object]) -> None:
    """Values under secret keys are removed, and credentials inside texts too; the line itself stays."""
    stream = io.StringIO()
    configure_logging(style, "info", stream)
    structlog.get_logger("cmc_notify.x").info("asked", **fields)
    assert "hunter2" not in stream.getvalue()
    assert "asked" in stream.getvalue()
    assert REMOVED in stream.getvalue()


def test_keys_that_only_sound_alike_stay() -> None:
    """Idempotency and ordering keys are what an operator searches for."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.get_logger("cmc_notify.x").info("sent", key="d1", ordering_key="emea/42", sink="chat")
    (line,) = lines(stream)
    assert (line["key"], line["ordering_key"]) == ("d1", "emea/42")


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_exception_is_logged_without_local_variables(style: Style) -> None:
    """A traceback shows place and error, not the values of variables, nor a secret in its text."""
    stream = io.StringIO()
    configure_logging(style, "info", stream)
    local = "swordfish" * 2
    try:
        Path(f"/nowhere/{len(local)}?token=hunter2").read_bytes()
    except OSError:
        structlog.get_logger("cmc_notify.x").exception("poll failed")
        logging.getLogger("library").exception("also")
    text = stream.getvalue()
    assert text.count("FileNotFoundError") >= 2
    assert "test_telemetry.py" in text
    assert "hunter2" not in text
    assert "swordfishswordfish" not in text


@pytest.mark.parametrize("style", ["json", "console"])
def test_hostile_text_stays_on_its_line(style: Style) -> None:
    """No text can forge a line, move the cursor or break the writer."""
    stream = io.StringIO()
    configure_logging(style, "info", stream)
    structlog.get_logger("cmc_notify.x").info("a\nb\x1b[2J", text="c\r\nd\u202e\x1b]0;x\x07\ud800")
    text = stream.getvalue()
    text.encode("utf-8")
    assert text.count("\n") == 1
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}


def test_warnings_of_python_use_the_pipe() -> None:
    """A library's warning is a log line too, not loose text between the lines."""
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old call", RuntimeWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old call" in str(line["event"])


def test_a_reload_changes_level_and_format() -> None:
    """Configuring again replaces the stream, also for loggers made before."""
    first, second = io.StringIO(), io.StringIO()
    configure_logging("json", "info", first)
    log = structlog.get_logger("cmc_notify.x")
    log.info("one")
    configure_logging("console", "error", second)
    log.info("two")
    log.error("three")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert "three" in second.getvalue()
    assert "two" not in second.getvalue()


def test_metrics_render_with_prefix_labels_and_version() -> None:
    """Counted values are in the Prometheus text, under the documented names."""
    metrics = Metrics("1.2.3")
    metrics.polls_total.labels("emea", "ok").inc()
    metrics.poll_seconds.labels("emea").observe(0.2)
    metrics.deliveries_total.labels(sink="chat", outcome="sent").inc(2)
    metrics.outbox_oldest_seconds.labels("chat").set(7)
    metrics.template_fallbacks_total.labels("slack", "slack/default.json").inc()
    text = metrics.render().decode()
    assert 'cmc_notify_polls_total{controller="emea",result="ok"} 1.0' in text
    assert 'cmc_notify_poll_seconds_count{controller="emea"} 1.0' in text
    assert 'cmc_notify_deliveries_total{outcome="sent",sink="chat"} 2.0' in text
    assert 'cmc_notify_build_info{version="1.2.3"} 1.0' in text
    families = list(text_string_to_metric_families(text))
    assert {family.name.startswith("cmc_notify_") for family in families} == {True}
    assert not [family.name for family in families if family.name.endswith("_created")]


def test_every_bridge_has_its_own_registry() -> None:
    """Two bridges in one process count apart, and nothing reaches the global registry."""
    one, two = Metrics("1"), Metrics("1")
    one.events_total.labels("emea", "job.failed").inc()
    assert b"job.failed" not in two.render()
    assert "cmc_notify" not in " ".join(metric.name for metric in REGISTRY.collect())


def test_each_reason_of_an_outage_is_logged_once_and_few_of_many() -> None:
    """A new reason is logged, a known one is not, and one that never repeats does not fill the log."""
    reasons = LoggedReasons()
    assert [reasons.is_new(each) for each in ("broken", "refused", "broken")] == [True, True, False]
    assert sum(reasons.is_new(f"port {number}") for number in range(100)) == LoggedReasons.MOST - 2
    reasons.clear()
    assert reasons.is_new("broken")
