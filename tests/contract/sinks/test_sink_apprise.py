"""The apprise sink through Apprise's own plugins to real servers on loopback: JSON, Gotify and mail."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from email import message_from_bytes, policy
from typing import Any, Self

import msgspec
import pytest
from aiohttp import web
from pydantic import ValidationError

from cmc_notify.core.events import EventType
from cmc_notify.core.outcome import Blocked, RetryLater, Sent, Unclear
from cmc_notify.core.samples import HOSTILE_TEXT, sample
from cmc_notify.core.text import visible
from cmc_notify.ports import Message
from cmc_notify.rendering import Renderer
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from cmc_notify.sinks.apprise import PLUGIN, AppriseSettings, AppriseSink
from cmc_notify.sinks.apprise.addresses import make_service
from cmc_notify.sinks.apprise.message_text import fit_message
from support.recorded_parts import Parts

MakeMessage = Callable[..., Message]
StartPostOffice = Callable[..., Awaitable[Any]]
URL = "https://bridge.example.net/events/1?expires=1&signature=abc"
TOKEN = "AbCdEfGhIjKlMnOp"


class Gotify:
    """A Gotify server as its API describes ``POST /message`` (https://gotify.net/api-docs)."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def _message(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Gotify-Key") != TOKEN:
            return web.json_response({"error": "Unauthorized", "errorCode": 401}, status=401)
        body = await request.json()
        if not isinstance(body.get("message"), str) or not body["message"]:
            return web.json_response({"error": "Bad Request", "errorCode": 400}, status=400)
        self.messages.append(body)
        return web.json_response({"id": len(self.messages), **body})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/message", self._message)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"gotify://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._runner
        await self._runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver for json://."""
    async with Receiver() as started:
        yield started


def address(receiver: Receiver, path: str = "/hook") -> str:
    """Its Apprise URL."""
    return f"json://{receiver.url.removeprefix('http://')}{path}"


def sink_for(*urls: str, **more: Any) -> AppriseSink:
    """A sink built as the application builds it, with the real templates."""
    settings = AppriseSettings.model_validate({"type": "apprise", "urls": [*urls], **more})
    sink = PLUGIN.build("reach", settings, Renderer())
    assert isinstance(sink, AppriseSink)
    return sink


async def test_a_message_arrives_with_title_body_and_severity(
    receiver: Receiver, make_message: MakeMessage
) -> None:
    """Apprise's JSON service gets the headline, every text as it came, and Apprise's own type."""
    parts = Parts()
    outcome = await sink_for(address(receiver)).send(make_message(texts=(HOSTILE_TEXT,), url=URL), parts)
    assert outcome == Sent("JSON")
    got = receiver.requests[0].document
    assert got["type"] == "failure"
    assert "job 42 failed" in got["title"]
    assert visible(HOSTILE_TEXT) in got["message"].replace("\u200b", "")
    assert URL in got["message"]
    assert [*parts.recorded.values()] == ["JSON"]


@pytest.mark.parametrize(
    ("kind", "word_"),
    [
        (EventType.JOB_FAILED, "failure"),
        (EventType.JOB_OVERDUE, "warning"),
        (EventType.JOB_STARTED, "info"),
        (EventType.JOB_SUCCEEDED, "success"),
        (EventType.APPLIANCE_RECOVERED, "success"),
    ],
)
async def test_each_severity_has_apprises_word(receiver: Receiver, kind: EventType, word_: str) -> None:
    """A recovery is a success, whatever its severity."""
    assert isinstance(
        await sink_for(address(receiver)).send(Message(key="k", event=sample(kind)), Parts()), Sent
    )
    assert receiver.requests[0].document["type"] == word_


async def test_nobody_is_pinged_and_no_escape_or_emoji_is_interpreted(
    receiver: Receiver, make_message: MakeMessage
) -> None:
    r"""A mention of everybody is parted, and ``\n`` and ``:fire:`` stay what they are."""
    text = r"@everyone @here <!channel> <@U012> \n \u0041 :fire: **bold**"
    await sink_for(f"{address(receiver)}?emojis=yes").send(make_message(texts=(text,)), Parts())
    body = receiver.requests[0].document["message"]
    assert text in body.replace("\u200b", "")
    assert not any(ping in body for ping in ("@everyone", "@here", "<!channel", "<@U"))


async def test_a_long_list_goes_along_as_a_file(receiver: Receiver, make_message: MakeMessage) -> None:
    """If the service takes files, the body is brief and the file has every text whole."""
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(500))
    await sink_for(address(receiver)).send(make_message(texts=texts, url=URL), Parts())
    got = receiver.requests[0].document
    assert len(got["message"].encode()) <= 32768
    assert "attached list" in got["message"]
    (file,) = got["attachments"]
    listed = base64.b64decode(file["base64"]).decode()
    assert all(text in listed for text in texts)
    assert file["filename"] == "failures-job-42.txt"


async def test_where_no_file_can_go_the_message_says_what_is_missing(make_message: MakeMessage) -> None:
    """Gotify takes no files: as many failures as fit, the number of the others, and the link."""
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(2000))
    async with Gotify() as gotify:
        outcome = await sink_for(f"{gotify.url}/{TOKEN}").send(make_message(texts=texts, url=URL), Parts())
    assert outcome == Sent("Gotify")
    (got,) = gotify.messages
    body = got["message"]
    assert 20_000 < len(body.encode()) <= 32768
    shown = sum(f"error {number:05} " in body for number in range(2000))
    assert f"{2000 - shown:,} more failures did not fit" in body
    assert URL in body
    assert "more characters)" in body


@pytest.mark.parametrize(("most", "lines"), [(160, 0), (40, 0), (1024, 2)])
def test_even_the_smallest_service_is_told_how_many_there_are(
    make_message: MakeMessage, most: int, lines: int
) -> None:
    """A text message, or a desktop's two lines: the number is there, and the link where it fits."""
    service = make_service("json://127.0.0.1", timeout=1)
    service.attachment_support = False
    service.body_maxlen, service.title_maxlen, service.body_max_line_count = most, 0, lines
    worded = fit_message(make_message(texts=("\u00fc" * 300,) * 12, url=URL), Renderer(), service)
    assert len(f"{worded.title}\r\n{worded.body}".encode()) <= most
    assert "12" in worded.body
    assert lines == 0 or worded.body.count("\n") + 2 <= lines
    assert (URL in worded.body) == (most > 100)


async def test_apprise_cuts_nothing_of_what_it_is_given(
    receiver: Receiver, make_message: MakeMessage
) -> None:
    """Whatever a URL says of overflow, the body arrives to its end."""
    texts = tuple(f"error {number:05} ".ljust(500, "&") for number in range(500))
    for overflow in ("truncate", "split", "upstream"):
        url = f"{address(receiver)}?overflow={overflow}&format=html"
        assert isinstance(await sink_for(url).send(make_message(texts=texts, url=URL), Parts()), Sent)
    assert len(receiver.requests) == 3
    for request in receiver.requests:
        assert len(request.document["message"].encode()) <= 32768
        assert "signature=abc" in request.document["message"]


async def test_mail_through_apprise(start_post_office: StartPostOffice, make_message: MakeMessage) -> None:
    """mailto:// to a real SMTP server: text as text, the complete list attached."""
    office = await start_post_office(auth_require_tls=False, auth_required=False)
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(100))
    sink = sink_for(f"mailto://127.0.0.1:{office.port}?from=cmc@example.net&to=noc@example.net&mode=insecure")
    outcome = await sink.send(make_message(texts=texts, url=URL), Parts())
    assert isinstance(outcome, Sent), outcome
    mail = message_from_bytes(office.mails[0].content, policy=policy.default)
    files = [part.get_content() for part in mail.walk() if part.get_filename()]
    assert all(any(text in file for file in files) for text in texts)


async def test_apprise_does_not_retry_by_itself(receiver: Receiver, make_message: MakeMessage) -> None:
    """Whatever a URL asks for, one attempt is one request."""
    receiver.otherwise = ScriptedResponse(500)
    outcome = await sink_for(f"{address(receiver)}?retry=3&wait=0&optional=yes").send(make_message(), Parts())
    assert isinstance(outcome, RetryLater)
    assert "500" in outcome.reason
    assert len(receiver.requests) == 1


async def test_a_service_that_has_taken_it_is_not_told_again(make_message: MakeMessage) -> None:
    """One URL fails, the other has it: the retry goes to the first alone, even if the list was turned."""
    parts, message = Parts(), make_message()
    async with Receiver() as good, Receiver() as bad:
        bad.script.append(ScriptedResponse(500))
        urls = (address(good, "/one"), address(bad, "/two"))
        assert isinstance(await sink_for(*urls).send(message, parts), RetryLater)
        assert len(parts.recorded) == 1
        assert isinstance(await sink_for(*reversed(urls)).send(parts.resumed(message), parts), Sent)
        assert [len(good.requests), len(bad.requests)] == [1, 2]
    assert len(parts.recorded) == 2


async def test_refused_credentials_block_only_where_nobody_is_told(make_message: MakeMessage) -> None:
    """Alone, a wrong token holds the queue; beside a service that works, it is tried again later."""
    async with Gotify() as gotify, Receiver() as good:
        wrong = f"{gotify.url}/AwrongTOKENwrong"
        outcome = await sink_for(wrong).send(make_message(), Parts())
        assert isinstance(outcome, Blocked)
        assert "wrongTOKEN" not in outcome.reason
        assert isinstance(await sink_for(wrong, address(good)).send(make_message(), Parts()), RetryLater)


async def test_a_repeat_says_that_it_may_be_one(receiver: Receiver, make_message: MakeMessage) -> None:
    """After a lost response nobody can be asked, so the second copy is marked."""
    parts, message = Parts(), make_message()
    receiver.script.append(ScriptedResponse(action="reset"))
    sink = sink_for(address(receiver))
    assert isinstance(await sink.send(message, parts), Unclear)
    assert isinstance(await sink.send(parts.resumed(message, unclear=True), parts), Sent)
    assert ["may be a repeat" in request.document["message"] for request in receiver.requests] == [
        False,
        True,
    ]


async def test_a_slow_service_holds_up_nobody(make_message: MakeMessage) -> None:
    """One that says nothing is given up after the time-out, even if the URL would wait for longer."""
    parts = Parts()
    async with Receiver() as slow, Receiver() as quick:
        slow.otherwise = ScriptedResponse(action="hang")
        sink = sink_for(f"{address(slow)}?rto=60", address(quick), timeout="300ms")
        async with asyncio.timeout(5):
            outcome = await sink.send(make_message(), parts)
    assert isinstance(outcome, Unclear)
    assert len(parts.recorded) == 1


@pytest.mark.parametrize(
    ("given", "place", "remedy"),
    [
        ({"urls": []}, "urls", "at least 1"),
        ({"urls": ["s3cr3ttoken"]}, "urls", "gotify://host/token"),
        ({"urls": ["s3cr3t://s3cr3ttoken/x"]}, "urls", "https://appriseit.com/services/"),
        ({"urls": ["tgram://s3cr3ttoken"]}, "urls", "https://appriseit.com/services/telegram/"),
        ({"urls": ["noc = json://127.0.0.1/s3cr3t"], "tag": "night"}, "tag", "remove tag"),
        ({"urls": ["json://127.0.0.1/s3cr3t"] * 2}, "urls", "twice"),
        ({"urls": ["json://127.0.0.1/s3cr3t"], "proxy": "http://proxy:3128"}, "proxy", "HTTPS_PROXY"),
        ({"urls": ["json://127.0.0.1/s3cr3t"], "tls": {"verify": False}}, "tls", "verify=no"),
    ],
)
def test_a_mistake_in_the_config_has_its_remedy(given: dict[str, Any], place: str, remedy: str) -> None:
    """Each says where and what to write, and repeats no URL."""
    with pytest.raises(ValidationError) as refused:
        AppriseSettings.model_validate(given)
    (error,) = refused.value.errors(include_input=False)
    assert place in (*map(str, error["loc"]), str(error["msg"]).split(": ")[0].removeprefix("Value error, "))
    assert remedy in error["msg"]
    assert "s3cr3t" not in error["msg"]


def test_without_apprise_the_config_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional extra, and everything else works without it."""
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ValidationError, match=r"pip install 'cmc-notify\[apprise\]'"):
        AppriseSettings.model_validate({"urls": ["json://127.0.0.1"]})


def test_tags_choose_as_in_apprises_own_configuration() -> None:
    """A file of Apprise's own makes sense as it is: comments, tags, one URL a line."""
    text = "# the night shift\n\nnight, noc = json://127.0.0.1/night\njson://127.0.0.1/all\n"
    of = {tag: AppriseSettings.model_validate({"urls": text, "tag": tag}).chosen for tag in ("night", "noc")}
    assert of == dict.fromkeys(of, ("json://127.0.0.1/night",))
    assert len(AppriseSettings.model_validate({"urls": text}).chosen) == 2


def test_a_preview_shows_what_goes_out_and_no_secret(make_message: MakeMessage) -> None:
    """Title, kind and body of each service, and the file that goes along."""
    texts = tuple(f"error {number:05} ".ljust(500, "z") for number in range(100))
    sink = sink_for("json://user:s3cr3tpass@127.0.0.1/s3cr3tpath")
    text, file = sink.preview(make_message(texts=texts))
    assert "failure" in text.text
    assert json.loads(text.text[: text.text.index("}") + 1])["attached"] == "failures-job-42.txt"
    assert texts[99] in file.text
    assert "s3cr3t" not in text.text + file.text + text.name + file.name


def test_a_job_whose_error_is_endless_is_told(make_message: MakeMessage) -> None:
    """One text that is too long alone is shortened, and says by how much."""
    service = make_service(f"gotify://127.0.0.1/{TOKEN}", timeout=1)
    message = make_message(texts=(), error_text="endless " * 10_000, url=URL)
    worded = fit_message(message, Renderer(), service)
    assert "79,400 more characters" in worded.body
    assert URL in worded.body
    event = msgspec.structs.replace(sample(EventType.APPLIANCE_RECOVERED), url=URL)
    many = tuple(
        msgspec.structs.replace(event.recoveries[0], serial=f"V{number}" * 5, appliance=None)
        for number in range(10_000)
    )
    recovered = Message(key="k", event=msgspec.structs.replace(event, recoveries=many))
    worded = fit_message(recovered, Renderer(), service)
    assert len(worded.body.encode()) <= 32768
    assert "more recoveries did not fit" in worded.body
