"""The application while the store can't be opened yet: ``/healthz`` returns 200, everything else 503.

Without the store there is nothing to read. Only the reason is protected, since it names the store's address.
"""

from collections.abc import Callable

from aiohttp import web

from cmc_notify.core.access import AccessRules
from cmc_notify.web.access import Access
from cmc_notify.web.readiness import store_trouble
from cmc_notify.web.responses import add_headers, refuse, translate_errors
from cmc_notify.web.visitors import Rules, Visitors


def create_startup_app(*, reason: Callable[[], str | None], rules: Rules = AccessRules) -> web.Application:
    """Return the application. ``reason`` returns why the store did not open; None during the first try."""
    access = Access(Visitors(rules))

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        trouble = reason()
        said = store_trouble(trouble) if trouble else "the store is being opened"
        shown = [said] if await access.may_read(request) else []
        return web.Response(status=503, text="\n".join(["not ready", *shown, ""]))

    async def unavailable(request: web.Request) -> web.Response:
        return refuse(
            request,
            503,
            "the bridge waits for its store; see its log and /readyz for the reason",
            {"Retry-After": "5"},
        )

    app = web.Application(middlewares=[translate_errors])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get("/healthz", alive),
            web.get("/readyz", ready),
            web.route("*", "/{path:.*}", unavailable),
        ]
    )
    return app
