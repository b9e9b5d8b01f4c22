"""Warnings about a valid config, shown at every start and by ``check``."""

from collections.abc import Iterator

from cmc_notify.settings.http import http_warnings
from cmc_notify.settings.root import Settings


def config_warnings(settings: Settings) -> Iterator[str]:
    """Yield one line for each warning: the key, what is risky, and what to write. Holds no secret."""
    for kind, parts in (("controllers", settings.controllers), ("sinks", settings.sinks)):
        for name, part in parts.items():
            # A sink may give tls another meaning (mail: starttls), so `verify` may be absent.
            if getattr(part.tls, "verify", True) is False:
                yield (
                    f"{kind}.{name}.tls.verify: is off, so anybody on the network can read and change "
                    "what is sent; set ca_file or fingerprint_sha256 instead"
                )
    used = {sink for route in settings.routes for sink in route.sinks}
    used |= {sink.fallback for sink in settings.sinks.values() if sink.fallback}
    for name in settings.sinks.keys() - used:
        yield f"sinks.{name}: is in no route and is no sink's fallback, so it gets nothing; add it to a route"
    tickets = {name for name, sink in settings.sinks.items() if sink.opens_tickets}
    for index, route in enumerate(settings.routes):
        if route.per == "failure" and not tickets & set(route.sinks):
            yield (
                f"routes.{index}.per: is about tickets, but none of this route's sinks opens tickets; "
                "remove it, or name a sink with a ticket preset"
            )
    yield from http_warnings(settings.http)
