"""``actions``: the actions from chat, refused ones too. Reads the store next to a running bridge."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from cmc_notify.cli.common import in_short, opened_store, read_settings, run_async
from cmc_notify.cli.options import ConfigOption, JsonOption, actions
from cmc_notify.cli.output import brief, print_json, print_lines, print_table
from cmc_notify.ports import ChatAction
from cmc_notify.web.documents import action_document

app = actions("Show what people did from chat, or were refused.")


@app.command("list")
def list_actions(
    config: ConfigOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="The most rows to show, the newest first.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List actions, the newest first; store.retention sets how long they are kept."""
    settings, _ = read_settings(config)

    async def read() -> Sequence[ChatAction]:
        async with opened_store(settings) as store:
            return await store.chat_actions.actions(limit=limit + 1)

    found = run_async(read())
    if as_json:
        print_json([msgspec.to_builtins(action_document(each)) for each in found[:limit]])
        return
    print_table(
        ("time", "who", "action", "subject", "outcome", "sink, way in", "reply"),
        [
            (
                in_short(each.at, settings),
                " ".join(filter(None, (brief(each.name), f"({each.who})" if each.who else None)))
                or "unknown",
                " ".join(filter(None, (each.action, each.detail))),
                each.subject,
                each.outcome.value,
                " ".join(filter(None, (each.sink, each.via, each.address))),
                brief(each.answer),
            )
            for each in found[:limit]
        ],
        empty="No actions from chat yet.",
        below=("reply",),
    )
    if len(found) > limit:
        print_lines("… and older ones; use --limit to show more")
