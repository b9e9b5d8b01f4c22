"""What a valid config should still be warned about, at every start and by ``check``."""

from collections.abc import Iterator

from cmc_notify.settings.root import Settings


def config_warnings(settings: Settings) -> Iterator[str]:
    """One line each: the key, what it means, and what to do. Holds no secret."""
    for kind, parts in (("controllers", settings.controllers), ("sinks", settings.sinks)):
        for name, part in parts.items():
            # A sink may give tls another meaning (mail: starttls), so this asks what is there.
            if getattr(part.tls, "verify", True) is False:
                yield (
                    f"{kind}.{name}.tls.verify: is off, so anybody on the way can read and change what is "
                    "sent; set ca_file or fingerprint_sha256 instead"
                )
    used = {sink for route in settings.routes for sink in route.sinks}
    used |= {sink.fallback for sink in settings.sinks.values() if sink.fallback}
    for name in settings.sinks.keys() - used:
        yield f"sinks.{name}: is in no route and nobody's fallback, so nothing goes there; route to it"
    tickets = {name for name, sink in settings.sinks.items() if sink.opens_tickets}
    for index, route in enumerate(settings.routes):
        if route.per == "failure" and not tickets & set(route.sinks):
            yield (
                f"routes.{index}.per: speaks of tickets, and none of this route's sinks opens any; "
                "remove it, or name a sink with a ticket preset"
            )
