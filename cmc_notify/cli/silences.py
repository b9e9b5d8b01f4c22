"""``silences``: what people document not to be told for a while. Works beside a running bridge, which heeds
them from each controller's next poll on.
"""

import getpass
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from cmc_notify.cli.common import for_people, opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, JsonOption, actions
from cmc_notify.cli.output import brief, fail, print_json, print_lines, print_table, warn
from cmc_notify.core.silences import Silence
from cmc_notify.errors import ConfigError
from cmc_notify.rendering.filters import duration as lasting
from cmc_notify.settings import Settings
from cmc_notify.settings.suggestions import did_you_mean
from cmc_notify.web.silence_documents import (
    MATCHERS,
    matchers_text,
    parse_silence,
    silence_document,
    state_of,
)

app = actions("What is not told for a while: list, add, and end early.")

_EXAMPLE = "silences add controller=emea serial='V2AB*' --duration 4h"


@app.command("list")
def list_silences(
    config: ConfigOption = None,
    expired: Annotated[bool, typer.Option("--expired", help="Also those that ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List silences that act or will act, the earliest to end first."""
    settings, _ = read_settings(config)
    now = time.time()

    async def read() -> Sequence[Silence]:
        async with opened_store(settings) as store:
            return await store.silences.list_silences(now=now, expired=expired)

    found = run_async(read())
    if as_json:
        print_json([msgspec.to_builtins(silence_document(each, now)) for each in found])
        return
    print_table(
        ("id", "state", "matches", "from", "until", "left", "by", "comment"),
        [
            (
                each.id,
                state_of(each, now),
                matchers_text(each),
                for_people(each.starts_at, settings),
                for_people(each.ends_at, settings),
                lasting(each.ends_at - now) if each.active(now) else None,
                each.created_by,
                brief(each.comment),
            )
            for each in found
        ],
        empty="Nothing is silenced.",
        below=("matches", "by", "comment"),
    )


@app.command("add")
def add_silence(
    matchers: Annotated[
        list[str],
        typer.Argument(
            metavar="MATCHER…",
            help="controller=, job=, serial= or feature=, each with a glob (jobs: an id). "
            "One key given several times: any of them; several keys: all of them.",
        ),
    ],
    config: ConfigOption = None,
    duration: Annotated[
        str | None, typer.Option("--duration", "-d", help="How long: 30m, 4h, 2d. Else 1h.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Until when instead: 2026-11-24T06:00Z, or Unix seconds.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="From when: a time, or 2h from now on. Else at once.")
    ] = None,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why, for whoever wonders.")] = "",
    author: Annotated[
        str | None,
        typer.Option("--author", "-a", help="Who asks for it. Else the name you are signed in by."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Silence what matches, and print the silence's id."""
    settings, _ = read_settings(config)
    now = time.time()
    document: dict[str, object] = {
        **_matchers(matchers),
        "comment": comment,
        "created_by": author or _own_name(),
    }
    if duration is None and end is None:
        duration = "1h"
    given = {"duration": duration, "ends": end, "starts": start}
    document |= {key: value for key, value in given.items() if value is not None}
    silence = parse_silence(document, controllers=settings.controllers, now=now)
    run_async(_add(settings, silence))
    if as_json:
        print_json(msgspec.to_builtins(silence_document(silence, now)))
    else:
        print_lines(silence.id)


@app.command("expire")
def expire_silences(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As silences list shows them.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End silences now. What they hid stays untold; what comes next is told."""
    settings, _ = read_settings(config)
    wanted = tuple(dict.fromkeys(ids))
    ended = run_async(_expire(settings, wanted))
    if as_json:
        print_json(ended)
    else:
        print_lines(*(f"ended: {each}" for each in ended))
    if missing := [each for each in wanted if each not in ended]:
        for each in missing:
            warn(f"there is no silence {each!r} that has not ended")
        fail("error: cmc-notify silences lists them with their ids")


async def _add(settings: Settings, silence: Silence) -> None:
    async with opened_store(settings) as store:
        await store.silences.add(silence)


async def _expire(settings: Settings, ids: Sequence[str]) -> list[str]:
    now = time.time()
    async with opened_store(settings) as store:
        return [each for each in ids if await store.silences.expire(each, now=now)]


def _matchers(written: Sequence[str]) -> dict[str, list[str]]:
    """``key=value``, each key with all its values. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    problems = []
    for each in written:
        key, equals, value = each.partition("=")
        if not equals:
            problems.append(f"{each!r} is no matcher; write key=value, as in {_EXAMPLE}")
        elif key not in MATCHERS:
            hint = did_you_mean(key, MATCHERS) or f"there are {', '.join(MATCHERS)}"
            problems.append(f"{each!r}: there is no matcher {key!r}; {hint}")
        elif value.startswith("~"):
            problems.append(f"{each!r}: no regular expressions but globs, as in {_EXAMPLE}")
        else:
            found.setdefault(key, []).append(value)
    if problems:
        raise ConfigError(*problems)
    return found


def _own_name() -> str:
    """Raises ConfigError where this process has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise ConfigError("your name can't be found out; give --author NAME") from error
