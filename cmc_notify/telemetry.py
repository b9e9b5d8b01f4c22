"""What operators see of the bridge: log lines and metrics. Neither ever holds a secret.

Log lines of the bridge and of its libraries leave through one pipe, in one format, one line each (only
tracebacks take more, and only in the ``console`` format). Field names are those of docs/operations.md.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from structlog.typing import EventDict, Processor, WrappedLogger

from cmc_notify import __version__
from cmc_notify.core.text import visible

# --- logs ---------------------------------------------------------------------------------------------

REMOVED = "[removed]"

_SECRET_KEY = re.compile(
    r"token|secret|passw|passphrase|passcode|authori[sz]ation|cookie|credential|assertion|signature"
    r"|access_?code|api_?key|private_?key|signing_?key|routing_?key|integration_?key",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    (re.compile(r"(?<=://)[^/?#\s@]*@"), f"{REMOVED}@"),
    (re.compile(r"\b(Bearer|SignedBearer|Basic|GenieKey)\s+[\w.~+/=:-]+", re.IGNORECASE), rf"\1 {REMOVED}"),
    (
        re.compile(
            r"([?&](?:\w*token|signature|assertion|password|access_code|api_key|key|code)=)[^&\s\"'#]+",
            re.IGNORECASE,
        ),
        rf"\1{REMOVED}",
    ),
)


def remove_secrets(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """A structlog processor: values under keys that look like secrets go, at any depth, and so do
    passwords in addresses, authorization headers and signatures inside texts.

    It is a safety net: callers still must not log secrets.
    """
    return {key: _without_secrets(key, value) for key, value in event_dict.items()}


def _without_secrets(key: object, value: object) -> object:
    if isinstance(key, str) and value is not None and _SECRET_KEY.search(key):
        return REMOVED
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {inner: _without_secrets(inner, held) for inner, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(None, held) for held in value]
    return value


def _one_harmless_line(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """For terminals: no text of a controller may move the cursor or forge a line."""
    for key, value in event_dict.items():
        if isinstance(value, str):
            clean = visible(value).encode("utf-8", "backslashreplace").decode("utf-8")
            event_dict[key] = clean if key in ("exception", "stack") else clean.replace("\n", "␊")
    return event_dict


def configure_logging(
    format: Literal["json", "console"],  # noqa: A002  the word of the config file
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO,
) -> None:
    """Send every log line, ours and the libraries', to ``stream``. May be called again after a reload.

    Libraries speak from warning on, with ``debug`` from info on: their own debug lines hold statements
    and bodies, where secrets can be.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Before the renderer sees it: its pretty tracebacks show variables, and those can be secrets.
                structlog.processors.format_exc_info,
                remove_secrets,
                *_renderer(format, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if level == "debug" else max(logging.WARNING, _LEVELS[level]))
    logging.getLogger("cmc_notify").setLevel(_LEVELS[level])
    logging.captureWarnings(True)


_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def _renderer(style: Literal["json", "console"], stream: TextIO) -> list[Processor]:
    if style == "json":
        return [structlog.processors.JSONRenderer()]
    return [
        _one_harmless_line,
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time"),
    ]


class LoggedReasons:
    """Which reasons of an outage were logged: each once, and of many no more than a few.

    What breaks a connection is often not why the next one can't be had, and that names the remedy. A reason
    that is never twice the same must not fill the log.
    """

    MOST = 5

    def __init__(self) -> None:
        self._told: set[str] = set()

    def is_new(self, reason: str) -> bool:
        """Whether to log this one, which counts as logged from now on."""
        if reason in self._told or len(self._told) >= self.MOST:
            return False
        self._told.add(reason)
        return True

    def clear(self) -> None:
        """The outage is over."""
        self._told.clear()


# --- metrics ------------------------------------------------------------------------------------------

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class _Registry(CollectorRegistry):
    """Without the ``_created`` series, which double every counter and which nobody asks for."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """Every metric of one bridge, in a registry of its own. Labels stay few and hold no outside text."""

    def __init__(self, version: str = __version__) -> None:
        self.registry = _Registry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="cmc_notify", registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="cmc_notify", registry=self.registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(
                name, text, labels, namespace="cmc_notify", registry=self.registry, buckets=_SECONDS
            )

        self.polls_total = counter(
            "polls_total",
            "Polls by result: ok, unreachable, unauthorized, hung, superseded, error.",
            "controller",
            "result",
        )
        self.poll_seconds = seconds("poll_seconds", "Duration of one poll up to its commit.", "controller")
        self.last_poll_timestamp_seconds = gauge(
            "last_poll_timestamp_seconds", "Unix time when a poll last went through.", "controller"
        )
        self.controller_up = gauge(
            "controller_up", "1 after a good poll, 0 after a failed one.", "controller"
        )
        self.leads = gauge("leads", "1 where this process polls the controller, else 0.", "controller")
        self.poll_lag_seconds = gauge(
            "poll_lag_seconds", "Age of the last poll that went through, by any replica.", "controller"
        )
        self.jobs_open = gauge("jobs_open", "Jobs that have not reached an end.", "controller")
        self.failures_open = gauge(
            "failures_open", "Told failures (serial and feature) that have not recovered.", "controller"
        )
        self.malformed_jobs = gauge(
            "malformed_jobs", "Jobs of the last full list that could not be read.", "controller"
        )
        self.unknown_status_total = counter(
            "unknown_status_total", "Job statuses outside the vendor's list, once per word.", "controller"
        )
        self.events_total = counter("events_total", "Events committed.", "controller", "type")
        self.deliveries_total = counter(
            "deliveries_total",
            "Attempts to send by outcome: sent, retry, unclear, rejected, blocked.",
            "sink",
            "outcome",
        )
        self.delivery_seconds = seconds("delivery_seconds", "Duration of one attempt to send.", "sink")
        self.outbox_pending = gauge("outbox_pending", "Deliveries not yet sent.", "sink")
        self.outbox_dead = gauge("outbox_dead", "Dead letters: retry them by hand.", "sink")
        self.outbox_oldest_seconds = gauge(
            "outbox_oldest_seconds", "Age of the oldest pending delivery, 0 with none.", "sink"
        )
        self.sink_blocked = gauge("sink_blocked", "1 while the sink waits for an operator.", "sink")
        self.sink_paused = gauge(
            "sink_paused",
            "1 while the sink rests, until it takes a message again: it asked for it, or it keeps failing.",
            "sink",
        )
        self.heartbeats_total = counter(
            "heartbeats_total", "Calls of heartbeat_url by result: ok, failed.", "result"
        )
        self.chat_actions_total = counter(
            "chat_actions_total",
            "What people did from chat by outcome: done, refused, outdated, failed, forged, unreadable.",
            "sink",
            "action",
            "outcome",
        )
        self.chat_sockets = gauge(
            "chat_sockets", "1 while what people press comes in by Socket Mode, else 0.", "sink"
        )
        self.chat_socket_outages_total = counter(
            "chat_socket_outages_total", "Times that the Socket Mode connection was lost or refused.", "sink"
        )
        self.loop_stall_seconds = seconds(
            "loop_stall_seconds", "How late the event loop was, looked at four times a second."
        )
        self.template_fallbacks_total = counter(
            "template_fallbacks_total", "Plain messages sent for a failed template.", "sink_type", "template"
        )
        self.build_info = gauge("build_info", "1; the version stands in the label.", "version")
        self.build_info.labels(version=version).set(1)
        ProcessCollector(namespace="cmc_notify", registry=self.registry)

    def render(self) -> bytes:
        """Everything in the Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
