"""``sessions``: who is signed in at the page, and an early end of it, next to a running bridge."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from cmc_notify.cli.common import in_short, opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, JsonOption, actions
from cmc_notify.cli.output import fail, print_json, print_lines, print_table, warn
from cmc_notify.core.access import Session
from cmc_notify.core.events import rfc3339
from cmc_notify.errors import ConfigError
from cmc_notify.settings import Settings

app = actions("Show who is signed in, or end sessions.")

SHOWN = 12
"""Characters of an id that are shown, and enough to name it."""


@app.command("list")
def list_sessions(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the sessions that have not ended, the newest first."""
    settings, _ = read_settings(config)
    found = run_async(_read(settings))
    if as_json:
        print_json([_document(each) for each in found])
        return
    print_table(
        ("id", "name", "may", "began", "ends", "from"),
        [
            (
                each.id[:SHOWN],
                each.name,
                each.right.value,
                in_short(each.began_at, settings),
                in_short(each.ends_at, settings),
                each.address,
            )
            for each in found
        ],
        empty="Nobody is signed in.",
    )


@app.command("end")
def end_sessions(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Ids as shown by sessions list.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="End every session.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End sessions: whoever has one must sign in again, at every replica."""
    wanted = tuple(dict.fromkeys(ids or ()))
    if bool(wanted) == everyone:
        raise ConfigError("write the ids of sessions, or --all")
    settings, _ = read_settings(config)
    ended, missing = run_async(_end(settings, None if everyone else wanted))
    if as_json:
        print_json(ended)
    else:
        print_lines(*(f"ended: {each}" for each in ended))
    if missing:
        for each in missing:
            warn(f"there is no session {each!r}")
        fail("error: not all sessions were ended; run cmc-notify sessions to list them with their ids")


async def _read(settings: Settings) -> Sequence[Session]:
    async with opened_store(settings) as store:
        return await store.sessions.list_sessions(now=time.time())


async def _end(settings: Settings, wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the ids that were ended, and those that name no session or several."""
    async with opened_store(settings) as store:
        every = [each.id for each in await store.sessions.list_sessions(now=time.time())]
        if wanted is None:
            chosen, missing = every, []
        else:
            named = {each: [known for known in every if known.startswith(each)] for each in wanted}
            chosen = [found[0] for found in named.values() if len(found) == 1]
            missing = [each for each, found in named.items() if len(found) != 1]
        ended = await store.sessions.end(chosen)
    return [each[:SHOWN] for each in ended], missing


def _document(session: Session) -> dict[str, object]:
    return {
        "id": session.id[:SHOWN],
        "name": session.name,
        "may": session.right.value,
        "began": rfc3339(session.began_at),
        "ends": rfc3339(session.ends_at),
        "address": session.address,
    }
