"""``silences``: lists, adds and ends silences.

Works next to a running bridge, which applies them from each controller's next poll on.
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

app = actions("List silences, add one, or end one early.")

_EXAMPLE = "silences add controller=emea serial='V2AB*' --duration 4h"


@app.command("list")
def list_silences(
    config: ConfigOption = None,
    expired: Annotated[bool, typer.Option("--expired", help="Also show silences that have ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List active and future silences, the earliest end first."""
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
        empty="No silences.",
        below=("matches", "by", "comment"),
    )


@app.command("add")
def add_silence(
    matchers: Annotated[
        list[str],
        typer.Argument(
            metavar="MATCHER…",
            help="controller=, serial= or feature= with a glob, or job= with an id. "
            "The same key several times: one of them must match. Different keys: all must match.",
        ),
    ],
    config: ConfigOption = None,
    duration: Annotated[
        str | None, typer.Option("--duration", "-d", help="How long, for example 30m, 4h or 2d. Default: 1h.")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--end", help="The end instead of a duration: 2026-11-24T06:00Z, or Unix seconds."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", help="The start: a time, or 2h for two hours from now. Default: now."),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", "-m", help="The reason, for other people.")] = "",
    author: Annotated[
        str | None,
        typer.Option("--author", "-a", help="The person who adds it. Default: your login name."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a silence for everything that matches, and print its id."""
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
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids as shown by silences list.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End silences now. Only later events are sent; events that were silenced stay silenced."""
    settings, _ = read_settings(config)
    wanted = tuple(dict.fromkeys(ids))
    ended = run_async(_expire(settings, wanted))
    if as_json:
        print_json(ended)
    else:
        print_lines(*(f"ended: {each}" for each in ended))
    if missing := [each for each in wanted if each not in ended]:
        for each in missing:
            warn(f"there is no active or future silence {each!r}")
        fail("error: not all silences were ended; run cmc-notify silences to list them with their ids")


async def _add(settings: Settings, silence: Silence) -> None:
    async with opened_store(settings) as store:
        await store.silences.add(silence)


async def _expire(settings: Settings, ids: Sequence[str]) -> list[str]:
    now = time.time()
    async with opened_store(settings) as store:
        return [each for each in ids if await store.silences.expire(each, now=now)]


def _matchers(written: Sequence[str]) -> dict[str, list[str]]:
    """Parse ``key=value``; return each key with all its values. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    problems = []
    for each in written:
        key, equals, value = each.partition("=")
        if not equals:
            problems.append(f"{each!r} is not a matcher; write key=value, as in {_EXAMPLE}")
        elif key not in MATCHERS:
            hint = did_you_mean(key, MATCHERS) or f"write one of {', '.join(MATCHERS)}"
            problems.append(f"{each!r}: there is no matcher {key!r}; {hint}")
        elif value.startswith("~"):
            problems.append(
                f"{each!r}: regular expressions are not supported; write a glob, as in {_EXAMPLE}"
            )
        else:
            found.setdefault(key, []).append(value)
    if problems:
        raise ConfigError(*problems)
    return found


def _own_name() -> str:
    """Return the login name. Raises ConfigError if there is none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise ConfigError("your login name is not known; write --author NAME") from error
