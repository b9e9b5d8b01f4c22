"""The state of the whole bridge, from the store and from the running process: for the page and the API."""

from typing import Literal

from msgspec import Struct

from cmc_notify.ports import ControllerMeta, Ledger, OutboxDepth
from cmc_notify.web.status import LiveController, LiveSink, StatusSource

ControllerState = Literal["waiting", "ok", "failing", "unreachable", "unauthorized"]


class ControllerView(Struct, frozen=True, kw_only=True):
    """A controller: its state in the store, and in this process if it is configured here."""

    name: str
    state: ControllerState
    meta: ControllerMeta
    live: LiveController | None
    open_failures: int


class SinkView(Struct, frozen=True, kw_only=True):
    """A sink: its part of the outbox, and its state in this process if it is configured here."""

    name: str
    live: LiveSink | None
    depth: OutboxDepth


class Overview(Struct, frozen=True, kw_only=True):
    """All controllers and all sinks."""

    controllers: tuple[ControllerView, ...]
    sinks: tuple[SinkView, ...]


async def overview(ledger: Ledger, status: StatusSource) -> Overview:
    """Return the overview: configured names first, then those that only the store has. Raises StoreError."""
    metas = await ledger.snapshots()
    open_failures = await ledger.count_failures()
    depths = {depth.sink: depth for depth in await ledger.depths() if depth.sink}
    controllers = {live.name: live for live in status.controllers()}
    sinks = {live.name: live for live in status.sinks()}
    return Overview(
        controllers=tuple(
            ControllerView(
                name=name,
                state=controller_state(metas.get(name, ControllerMeta())),
                meta=metas.get(name, ControllerMeta()),
                live=controllers.get(name),
                open_failures=open_failures.get(name, 0),
            )
            for name in dict.fromkeys([*controllers, *sorted(metas)])
        ),
        sinks=tuple(
            SinkView(
                name=name,
                live=sinks.get(name),
                depth=depths.get(name, OutboxDepth(name, 0, 0, 0, None)),
            )
            for name in dict.fromkeys([*sinks, *sorted(depths)])
        ),
    )


def controller_state(meta: ControllerMeta) -> ControllerState:
    """Return the state in one word; ``failing``: polls fail, but not yet often enough for an event."""
    if meta.unauthorized_since is not None:
        return "unauthorized"
    if meta.unreachable_since is not None:
        return "unreachable"
    if meta.failed_polls:
        return "failing"
    return "waiting" if meta.last_poll_at is None else "ok"
