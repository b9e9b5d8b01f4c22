"""``actions`` shows what people did from chat, and nothing of it moves a terminal."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from cmc_notify.ports import ActionOutcome, ChatAction
from cmc_notify.store import open_store
from support.command_line import in_process, written

ACTION = ChatAction(
    id="a1",
    at=1_795_425_600.0,
    sink="chat",
    via="socket",
    action="silence",
    outcome=ActionOutcome.DONE,
    who="U0ANNA",
    name="anna \x1b[31m",
    subject="job:emea:42-1795420000",
    detail="4h",
    answer="job 42 is silent for 4 h (silence 6398e036cf2f)",
)


def test_the_newest_first(tmp_path: Path) -> None:
    """As a table for people, and as JSON for programs, the same as over HTTP."""
    url = f"sqlite:///{tmp_path}/store.db"
    forged = replace(
        ACTION,
        id="a2",
        at=ACTION.at + 60,
        action="unknown",
        outcome=ActionOutcome.FORGED,
        who=None,
        name=None,
    )

    async def fill() -> None:
        store = await open_store(url, clock=time.time, exclusive=True)
        for action in (ACTION, forged):
            await store.chat_actions.begin(action)
        await store.close()

    asyncio.run(fill())
    config: dict[str, Any] = {
        "controllers": {"emea": {"url": "https://cmc.example.net"}},
        "sinks": {"screen": {"type": "console"}},
        "routes": [{"sinks": ["screen"]}],
        "store": {"url": url},
    }
    file = str(written(tmp_path, config))
    code, out, err = in_process("actions", "--config", file)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[2:4] == ["unknown", "unknown"]
    assert "forged" in lines[1]
    assert "anna ␛[31m (U0ANNA)" in lines[2]
    assert "silence 4h" in lines[2]
    assert lines[2].endswith("job 42 is silent for 4 h (silence 6398e036cf2f)")
    code, out, _ = in_process("actions", "list", "--limit", "1", "--json", "--config", file)
    assert code == 0
    [document] = json.loads(out)
    assert (document["id"], document["outcome"], document["time"]) == ("a2", "forged", "2026-11-23T09:21:00Z")
    assert "and older ones" in in_process("actions", "--limit", "1", "--config", file).out
