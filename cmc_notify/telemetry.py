"""Log lines and metrics: the bridge as operators see it. Neither ever holds a secret.

Log lines of the bridge and of its libraries go to one stream, in one format, one line each (only
tracebacks take more, and only in the ``console`` format). Field names are those of docs/reference/logs.md.
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
    """Remove secrets from a log line, as a structlog processor.

    It removes values under keys that look like secrets, at any depth, and passwords in addresses,
    authorization headers and signatures inside texts. It is a safety net: callers still must not log secrets.
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
    """Make each value safe for a terminal: no text of a controller may move the cursor or forge a line."""
    for key, value in event_dict.items():
        if isinstance(value, str):
            clean = visible(value).encode("utf-8", "backslashreplace").decode("utf-8")
            event_dict[key] = clean if key in ("exception", "stack") else clean.replace("\n", "␊")
    return event_dict


def configure_logging(
    format: Literal["json", "console"],  # noqa: A002  the key in the config file
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO,
) -> None:
    """Send every log line, our own and the libraries', to ``stream``. May be called again after a reload.

    Lines of libraries appear from warning on, with ``debug`` from info on: their own debug lines hold
    statements and bodies, which can contain secrets.
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
                # Before the renderer: its pretty tracebacks show variables, which can be secrets.
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
    """The reasons of an outage that were logged: each once, and at most ``MOST`` of them.

    The reason that ends a connection is often not the reason that prevents the next one, and only that names
    the remedy. A reason that changes each time must not fill the log.
    """

    MOST = 5

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def is_new(self, reason: str) -> bool:
        """Return True if this one is to be logged; from now on it counts as logged."""
        if reason in self._logged or len(self._logged) >= self.MOST:
            return False
        self._logged.add(reason)
        return True

    def clear(self) -> None:
        """Forget the reasons: the outage has ended."""
        self._logged.clear()


# --- metrics ------------------------------------------------------------------------------------------

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class _Registry(CollectorRegistry):
    """A registry without the ``_created`` series: they double every counter, and nobody needs them."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """Every metric of one bridge, in its own registry. Labels are few and hold no text from outside."""

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
            "last_poll_timestamp_seconds", "Unix time of the last successful poll.", "controller"
        )
        self.controller_up = gauge(
            "controller_up", "1 after a good poll, 0 after a failed one.", "controller"
        )
        self.leads = gauge("leads", "1 if this process polls the controller, else 0.", "controller")
        self.poll_lag_seconds = gauge(
            "poll_lag_seconds", "Age of the last successful poll, by any replica.", "controller"
        )
        self.jobs_open = gauge("jobs_open", "Jobs that have not reached an end.", "controller")
        self.failures_open = gauge(
            "failures_open", "Announced failures (serial and feature) that have not recovered.", "controller"
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
        self.sink_circuit_open = gauge(
            "sink_circuit_open", "1 after several failures in a row, until a message is accepted.", "sink"
        )
        self.sink_throttled = gauge(
            "sink_throttled", "1 after Retry-After, until a message that was sent later is accepted.", "sink"
        )
        self.heartbeats_total = counter(
            "heartbeats_total", "Calls of heartbeat_url by result: ok, failed.", "result"
        )
        self.chat_actions_total = counter(
            "chat_actions_total",
            "Actions of people from chat by outcome: done, refused, outdated, failed, forged, unreadable.",
            "sink",
            "action",
            "outcome",
        )
        self.chat_sockets = gauge("chat_sockets", "1 while the Socket Mode connection is up, else 0.", "sink")
        self.chat_socket_outages_total = counter(
            "chat_socket_outages_total", "Times that the Socket Mode connection was lost or refused.", "sink"
        )
        self.loop_stall_seconds = seconds(
            "loop_stall_seconds", "Delay of the event loop, measured four times a second."
        )
        self.template_fallbacks_total = counter(
            "template_fallbacks_total",
            "Plain messages sent because a template failed.",
            "sink_type",
            "template",
        )
        self.build_info = gauge("build_info", "1; the label holds the version.", "version")
        self.build_info.labels(version=version).set(1)
        ProcessCollector(namespace="cmc_notify", registry=self.registry)

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
