"""Build renderer, sinks and routes from the config."""

from collections.abc import Callable, Mapping

from cmc_notify.core.recipients import SinkProfile
from cmc_notify.core.retry import RetryPolicy
from cmc_notify.core.routing import Match, Route
from cmc_notify.dispatcher import SinkPolicy
from cmc_notify.errors import TemplateError
from cmc_notify.ports import Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings import RouteSettings, Settings
from cmc_notify.settings.base import SinkSettings
from cmc_notify.sinks.plugin import SinkPlugin

PROBE_EVERY = 30.0
"""Seconds until a blocked sink is tried again, or the sink's own ``retry.max`` if that is less."""

Plugins = Mapping[str, SinkPlugin]


def make_renderer(
    settings: Settings, on_fallback: Callable[[TemplateError], None], *, plugins: Plugins | None = None
) -> Renderer:
    """Return the renderer of the config. ``plugins`` bring the templates of third-party sinks."""
    return Renderer(
        [settings.templates_dir] if settings.templates_dir else [],
        plugin_dirs={kind: each.templates for kind, each in (plugins or {}).items() if each.templates},
        timezone=settings.timezone,
        on_fallback=on_fallback,
    )


def make_sink(name: str, settings: SinkSettings, plugins: Plugins, renderer: Renderer) -> Sink:
    """Return one configured sink."""
    return plugins[settings.type].build(name, settings, renderer)


def make_route(route: RouteSettings) -> Route:
    """Return a route of the config as the core needs it."""
    match = route.match
    return Route(
        match=Match(
            event=match.event,
            controller=match.controller,
            feature=match.feature,
            serial=match.serial,
            site_id=match.site_id,
        ),
        sinks=route.sinks,
        proceed=route.continue_,
        per_failure=route.per == "failure",
        max_per_job=route.max_per_job,
    )


def make_sink_profile(settings: SinkSettings) -> SinkProfile:
    """Return the settings of a sink that decide which deliveries it gets."""
    return SinkProfile(
        deadline=settings.retry.deadline,
        send_resolved=settings.send_resolved,
        tickets=settings.opens_tickets,
        updates_every=settings.updates_every,
    )


def make_sink_policy(settings: SinkSettings) -> SinkPolicy:
    """Return the settings by which the dispatcher sends to a sink."""
    retry = settings.retry
    return SinkPolicy(
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        retry=RetryPolicy(
            initial=retry.initial,
            max=retry.max,
            deadline=retry.deadline,
            probe=min(PROBE_EVERY, retry.max),
        ),
        fallback=settings.fallback,
        send_resolved=settings.send_resolved,
        tickets=settings.opens_tickets,
    )
