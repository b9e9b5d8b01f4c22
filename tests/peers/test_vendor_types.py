"""Our payloads against what the vendors publish: Slack's types, Jira's schema, Teams' parser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmc_notify.core.events import Event
from cmc_notify.core.samples import many_failures, samples
from cmc_notify.ports import Message, Previewing
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.sinks import slack, webhook
from cmc_notify.sinks.plugin import SinkPlugin
from support.peers import node_module, program, run

RENDERER = Renderer()
SLACK = {"type": "slack", "token": "xoxb-1", "channel": "#netops"}
JIRA = {
    "type": "webhook",
    "preset": "jira",
    "url": "https://jira.example.net",
    "auth": {"method": "basic", "username": "cmc", "password": "s3cr3ttoken"},
    "options": {"project": "NET", "issue_type": "Incident"},
}
WRONG_CARD = {
    "type": "AdaptiveCard",
    "version": "1.4",
    "body": [{"type": "TextBlock", "text": "x", "size": "huge"}, {"type": "Nonsense"}],
}
TEAMS = {"type": "webhook", "preset": "teams", "url": "https://teams.example.net/workflow"}


def events() -> list[Event]:
    """Every sample, and a large failure."""
    return [*samples(), many_failures(400)]


def previews(plugin: SinkPlugin, config: dict[str, Any]) -> Iterator[tuple[Event, Any]]:
    """Yield each JSON document that a sink would send for each sample."""
    settings = settings_class(plugin.settings, config).model_validate(config)
    sink = plugin.build("peer", settings, RENDERER)
    assert isinstance(sink, Previewing)
    for event in events():
        for document in sink.preview(Message(key="k", event=event, subject="job:emea:42")):
            text = document.text[document.text.find("{") :] if "{" in document.text else ""
            try:
                yield event, json.loads(text)
            except ValueError:
                continue


async def test_slack_messages_have_slacks_types(tmp_path: Path) -> None:
    """The compiler finds no fault in any message, by the vendor's own types."""
    types = node_module("@slack/types")
    compiler = node_module("typescript") / "bin" / "tsc"
    messages = [
        {"text": found["text"], "blocks": found["blocks"]}
        for _event, found in previews(slack.PLUGIN, SLACK)
        if isinstance(found, dict) and "blocks" in found
    ]
    assert len(messages) > len(events())
    (tmp_path / "node_modules" / "@slack").mkdir(parents=True)
    (tmp_path / "node_modules" / "@slack" / "types").symlink_to(types)
    source = 'import type { KnownBlock } from "@slack/types";\n'
    source += "type Posted = { text: string; blocks: KnownBlock[] };\n"
    for number, message in enumerate(messages):
        source += f"const m{number}: Posted = {json.dumps(message)};\nvoid m{number};\n"
    (tmp_path / "messages.ts").write_text(source)
    options = ["--noEmit", "--strict", "--module", "esnext", "--moduleResolution", "bundler"]
    code, output = await run(program("node"), str(compiler), *options, "messages.ts", cwd=tmp_path)
    assert (code, output[:2000]) == (0, "")
    (tmp_path / "wrong.ts").write_text(
        source.splitlines()[0] + '\nconst b: KnownBlock = { type: "section", text: 3 };\nvoid b;\n'
    )
    code, output = await run(program("node"), str(compiler), *options, "wrong.ts", cwd=tmp_path)
    assert code != 0, "the compiler takes anything"


def _documents(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every Atlassian document within a JSON value."""
    if isinstance(value, dict):
        if value.get("type") == "doc":
            yield value
        for inner in value.values():
            yield from _documents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _documents(inner)


def test_jira_documents_are_valid_adf() -> None:
    """Every issue and comment is valid by Atlassian's full schema."""
    jsonschema = pytest.importorskip("jsonschema")
    path = node_module("@atlaskit/adf-schema") / "dist" / "json-schema" / "v1" / "full.json"
    validator = jsonschema.Draft4Validator(json.loads(path.read_text()))
    found = [each for _event, value in previews(webhook.PLUGIN, JIRA) for each in _documents(value)]
    assert found
    for document in found:
        assert [error.message[:300] for error in validator.iter_errors(document)] == []
    assert list(validator.iter_errors({"type": "doc", "version": 1, "content": [{"type": "nonsense"}]}))


async def test_teams_cards_parse(tmp_path: Path) -> None:
    """Microsoft's own parser reads every card without a complaint."""
    package = node_module("adaptivecards")
    cards = [
        attachment["content"]
        for _event, found in previews(webhook.PLUGIN, TEAMS)
        if isinstance(found, dict)
        for attachment in found.get("attachments", [])
    ]
    assert len(cards) >= len(events())
    (tmp_path / "cards.json").write_text(json.dumps([*cards, WRONG_CARD]))
    (tmp_path / "parse.cjs").write_text(
        f"""
globalThis.self = globalThis;
const ac = require({json.dumps(str(package / "dist" / "adaptivecards.js"))});
const cards = JSON.parse(require("fs").readFileSync("cards.json", "utf8"));
const faults = cards.map((card) => {{
  const context = new ac.SerializationContext();
  try {{ new ac.AdaptiveCard().parse(card, context); }} catch (error) {{ return [String(error)]; }}
  return Array.from({{length: context.eventCount}}, (_, i) => context.getEventAt(i).message);
}});
console.log(JSON.stringify(faults));
"""
    )
    code, output = await run(program("node"), "parse.cjs", cwd=tmp_path)
    assert code == 0, output[-2000:]
    *ours, wrong = json.loads(output.strip().splitlines()[-1])
    assert [each for each in ours if each] == []
    assert wrong, "the parser takes anything"
