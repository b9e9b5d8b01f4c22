"""Teams and Discord against servers that refuse what their vendors refuse."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Sent, Unclear
from cmc_notify.core.samples import HOSTILE_TEXT, samples
from cmc_notify.core.text import markdown, visible
from cmc_notify.ports import Message, Previewing, Sink
from cmc_notify.rendering import Renderer
from cmc_notify.settings.base import settings_class
from cmc_notify.simulator.chat import DiscordMessage, DiscordServer, TeamsServer
from cmc_notify.simulator.tickets import ServiceFault
from cmc_notify.sinks.webhook import PLUGIN
from support.recorded_parts import Parts

MakeMessage = Callable[..., Message]
Server = DiscordServer | TeamsServer
URL = "https://bridge.example.net/events/1?expires=1&signature=abc"
TEXTS = tuple(f"error {number:05} *bold* ".ljust(500, "z") for number in range(400))


@pytest.fixture(params=["discord", "teams"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Each vendor in turn."""
    made: Server = DiscordServer() if request.param == "discord" else TeamsServer()
    async with made:
        yield made


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    """Discord alone."""
    async with DiscordServer() as made:
        yield made


def sink_for(server: Server, **more: Any) -> Sink:
    """A sink built as the application builds it."""
    preset = "discord" if isinstance(server, DiscordServer) else "teams"
    given = {"type": "webhook", "preset": preset, "url": server.webhook_url, **more}
    settings = settings_class(PLUGIN.settings, given).model_validate(given)
    return PLUGIN.build("chat", settings, Renderer())


def posted(server: Server) -> list[str]:
    """Return what a reader sees of each message."""
    if isinstance(server, DiscordServer):
        return [message.shown for message in server.messages]
    return [card.shown for card in server.cards]


async def test_a_message_arrives_with_headline_texts_and_link(
    server: Server, make_message: MakeMessage
) -> None:
    """One message, complete, with a way to the page."""
    sink = sink_for(server)
    outcome = await sink.send(make_message(texts=("Rule 12 is not defined", "no answer"), url=URL), Parts())
    assert isinstance(outcome, Sent), outcome
    (seen,) = posted(server)
    for text in ("job 42 failed", "Rule 12 is not defined", "no answer", URL, "edge-1"):
        assert text in seen
    await sink.close()


async def test_hostile_text_stays_text_and_pings_nobody(server: Server, make_message: MakeMessage) -> None:
    """Every sample, hostile ones included: valid, no markup but our own, no mention, every line legible."""
    sink = sink_for(server)
    for event in samples():
        outcome = await sink.send(Message(key="k", event=event), Parts())
        assert isinstance(outcome, Sent), (event.type, outcome)
    nasty = f"{HOSTILE_TEXT}\n@everyone <@&1> **b** _i_ ~~s~~ ||x|| `c` # h\n- item\n1. one\n> q\n:fire: \\*"
    assert isinstance(await sink.send(make_message(texts=(nasty,), error_text=nasty), Parts()), Sent)
    seen = posted(server)[-1].split("\n")
    assert all(line in seen for line in visible(nasty).split("\n") if line.strip())
    messages = server.messages if isinstance(server, DiscordServer) else server.cards
    assert [message.markup for message in messages if message.markup] == []
    assert isinstance(server, TeamsServer) or not any(message.pings for message in server.messages)
    await sink.close()


async def test_a_long_list_is_attached_or_counted(server: Server, make_message: MakeMessage) -> None:
    """Discord gets the complete list as a file; Teams takes none, so the card says how many there are."""
    sink = sink_for(server)
    assert isinstance(await sink.send(make_message(texts=TEXTS, url=URL), Parts()), Sent)
    (seen,) = posted(server)
    assert URL in seen
    if isinstance(server, DiscordServer):
        (file,) = server.messages[0].files.values()
        assert all(text in file.decode() for text in TEXTS)
        assert [*server.messages[0].files] == ["failures-job-42.txt"]
    else:
        assert "more failures with" in seen
    await sink.close()


async def test_discords_own_wish_is_passed_on(discord: DiscordServer, make_message: MakeMessage) -> None:
    """A rate limit's fractional seconds stand in the body."""
    sink = sink_for(discord)
    discord.limited = 0.65
    outcome = await sink.send(make_message(), Parts())
    assert isinstance(outcome, RetryLater)
    assert outcome.after == 0.65
    assert isinstance(await sink.send(make_message(), Parts()), Sent)
    await sink.close()


async def test_teams_lets_no_more_than_four_a_second(make_message: MakeMessage) -> None:
    """The fifth comes later."""
    async with TeamsServer(pace=True) as server:
        sink = sink_for(server)
        outcomes = [await sink.send(make_message(), Parts()) for _ in range(5)]
        await sink.close()
    assert [type(outcome) for outcome in outcomes] == [Sent] * 4 + [RetryLater]


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (ServiceFault("drop"), Unclear),
        (ServiceFault("respond", status=400, body='{"message": "no", "code": 50035}'), Rejected),
        (ServiceFault("respond", status=401), Blocked),
        (ServiceFault("respond", status=404, body='{"message": "Unknown Webhook", "code": 10015}'), Blocked),
        (ServiceFault("respond", status=413), Rejected),
        (ServiceFault("respond", status=429, headers=(("Retry-After", "7"),)), RetryLater),
        (ServiceFault("respond", status=502), RetryLater),
    ],
)
async def test_each_answer_has_its_outcome(
    server: Server, make_message: MakeMessage, trouble: ServiceFault, expected: type
) -> None:
    """And no reason holds the secret address."""
    sink = sink_for(server)
    server.fail_next("execute" if isinstance(server, DiscordServer) else "card", trouble)
    outcome = await sink.send(make_message(), Parts())
    assert type(outcome) is expected
    assert "simulated" not in repr(outcome)
    await sink.close()


async def test_a_repeat_says_that_it_may_be_one(server: Server, make_message: MakeMessage) -> None:
    """Neither can be asked what arrived."""
    parts, message, sink = Parts(), make_message(), sink_for(server)
    server.fail_next(
        "execute" if isinstance(server, DiscordServer) else "card", ServiceFault("drop", done=True)
    )
    assert isinstance(await sink.send(message, parts), Unclear)
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert ["may be a repeat" in text for text in posted(server)] == [False, True]
    await sink.close()


async def test_a_page_for_people_is_no_success(server: Server, make_message: MakeMessage) -> None:
    """A proxy that wants a log-in answers 200 to everything: nobody was told, so it is tried again."""
    sink, page = sink_for(server), "<!DOCTYPE html><title>Please sign in</title>"
    server.fail_next(
        "execute" if isinstance(server, DiscordServer) else "card",
        ServiceFault("respond", status=200, body=page),
    )
    assert isinstance(await sink.send(make_message(), Parts()), RetryLater)
    assert posted(server) == []
    assert isinstance(await sink.send(make_message(), Parts()), Sent)
    await sink.close()


async def test_a_probe_tells_nobody_anything(server: Server) -> None:
    """The webhook is asked, and nothing stands in the channel."""
    sink = sink_for(server)
    assert isinstance(await sink.probe(), Sent)
    assert posted(server) == []
    await sink.close()


async def test_a_preview_opens_no_connection_and_shows_no_secret(
    server: Server, make_message: MakeMessage
) -> None:
    """The request and its body."""
    sink = sink_for(server)
    assert isinstance(sink, Previewing)
    shown = "".join(document.text for document in sink.preview(make_message(texts=("Rule 12",))))
    assert "Rule 12" in shown
    assert "simulated" not in shown
    assert server.calls == []
    await sink.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"content": "x" * 2001},
        {"content": ""},
        {"embeds": [{"title": "x" * 257}]},
        {"embeds": [{"description": "x" * 4097}]},
        {"embeds": [{"title": "x"}] * 11},
        {"embeds": [{"description": "x" * 3001}] * 2},
        {"embeds": [{"fields": [{"name": "x", "value": "x"}] * 26}]},
        {"embeds": [{"fields": [{"name": "x", "value": "x" * 1025}]}]},
        {"embeds": [{"fields": [{"name": "", "value": "x"}]}]},
        {"embeds": [{"title": "x", "url": "javascript:alert(1)"}]},
    ],
)
async def test_the_discord_server_refuses_what_discord_refuses(
    discord: DiscordServer, make_message: MakeMessage, tmp_path: Any, broken: dict[str, Any]
) -> None:
    """A template of one's own that breaks a limit is a dead letter, told in Discord's words."""
    folder = tmp_path / "discord"
    folder.mkdir()
    (folder / "default.json.j2").write_text(msgspec.json.encode(broken).decode())
    given = {"type": "webhook", "preset": "discord", "url": discord.webhook_url}
    settings = settings_class(PLUGIN.settings, given).model_validate(given)
    sink = PLUGIN.build("chat", settings, Renderer([tmp_path]))
    outcome = await sink.send(make_message(), Parts())
    assert isinstance(outcome, Rejected)
    await sink.close()


@pytest.mark.parametrize(
    "text", ["*b*", "1. x", "- x", "+ x", "# h", "> q", "`c`", "\\*", "||s||", ":a:", "@here"]
)
def test_markdown_is_undone_by_a_backslash(text: str) -> None:
    """Escaped text shows as it was, and no markup character is left unescaped."""
    message = DiscordMessage({"content": markdown(text)}, {})
    assert message.shown == text
    assert message.markup == []
