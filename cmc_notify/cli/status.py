"""``status``: the whole bridge at one look, from its store."""

from collections.abc import Sequence

import msgspec

from cmc_notify.cli.common import for_people, opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, JsonOption, single
from cmc_notify.cli.output import print_json, print_table, say
from cmc_notify.core.model import JobState
from cmc_notify.settings import Settings
from cmc_notify.web import LiveController, LiveSink
from cmc_notify.web.documents import controller_document, job_document, sink_document
from cmc_notify.web.overview import Overview, overview

OPEN_JOBS = 1000
"""Jobs that can be open at once before the number is no longer exact."""


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Controllers, open jobs, open failures and the outbox, at one look."""
    settings, _ = read_settings(config)
    whole, jobs = run_async(_read(settings))
    if as_json:
        document = {
            # What only the running process knows is at /api/v1/status.
            "controllers": [
                _without(controller_document(view), "polling", "next_poll") for view in whole.controllers
            ],
            "sinks": [_without(sink_document(view), "blocked") for view in whole.sinks],
            "open_jobs": [job_document(name, state) for name, state in jobs],
        }
        print_json(msgspec.to_builtins(document))
        return
    _print(settings, whole, jobs)


class _Configured:
    """What the config says there should be, where no running process is asked."""

    stopping = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def controllers(self) -> Sequence[LiveController]:
        return [LiveController(name=name, tried=False) for name in self._settings.controllers]

    def sinks(self) -> Sequence[LiveSink]:
        return [LiveSink(name=name, type=sink.type) for name, sink in self._settings.sinks.items()]


async def _read(settings: Settings) -> tuple[Overview, Sequence[tuple[str, JobState]]]:
    async with opened_store(settings) as store:
        whole = await overview(store.ledger, _Configured(settings))
        return whole, await store.ledger.jobs(open_only=True, limit=OPEN_JOBS)


def _without(document: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in keys}


def _print(settings: Settings, whole: Overview, jobs: Sequence[tuple[str, JobState]]) -> None:
    print_table(
        ("controller", "state", "last poll", "open jobs", "open failures", "last error"),
        [
            (
                view.name if view.live else f"{view.name} (no longer in the config)",
                view.state,
                for_people(view.meta.last_poll_at, settings) or "never",
                sum(name == view.name for name, _ in jobs),
                view.open_failures,
                view.meta.last_error if view.state != "ok" else None,
            )
            for view in whole.controllers
        ],
        empty="No controller is configured.",
    )
    say("")
    print_table(
        ("sink", "type", "waiting", "oldest", "sent", "dead"),
        [
            (
                view.name,
                view.live.type if view.live else "no longer in the config",
                view.depth.pending,
                for_people(view.depth.oldest_pending_at, settings),
                view.depth.sent,
                view.depth.dead,
            )
            for view in whole.sinks
        ],
        empty="No sink is configured.",
    )
    if dead := sum(view.depth.dead for view in whole.sinks):
        say(
            "", f"{dead} dead: cmc-notify deliveries --state dead shows why, … retry --dead sends them again."
        )


app = single(status)
