"""``preview``, ``test``, ``simulate`` and ``schema``: trying things out before it matters."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest

from cmc_notify.cli.main import COMMANDS
from cmc_notify.core.events import EventType, encode
from cmc_notify.core.samples import samples
from cmc_notify.simulator.mailbox import Mailbox
from cmc_notify.simulator.receiver import Receiver, ScriptedResponse
from support.command_line import environment, in_process, real_process, written

SECRET = "s3cr3t"
SINKS: dict[str, dict[str, Any]] = {
    "chat": {"type": "slack", "token": f"xoxb-{SECRET}", "channel": "#netops"},
    "hook": {"type": "slack", "webhook_url": f"https://hooks.example.net/{SECRET}"},
    "tickets": {
        "type": "webhook",
        "url": f"https://tickets.example.net/{SECRET}",
        "auth": {"method": "bearer", "token": SECRET},
        "headers": {"X-Api-Key": SECRET},
    },
    "mail": {"type": "email", "host": "smtp.example.net", "from": "a@example.net", "to": "b@example.net"},
    "screen": {"type": "console"},
}


def config(sinks: dict[str, Any]) -> dict[str, Any]:
    """A config with these sinks."""
    controllers = {"emea": {"url": "https://cmc.example.net"}}
    return {"controllers": controllers, "sinks": sinks, "routes": [{"sinks": [*sinks]}]}


def test_preview_has_everything(tmp_path: Path) -> None:
    """Every event for every sink, and no secret."""
    code, out, err = in_process("preview", "--config", str(written(tmp_path, config(SINKS))))
    assert (code, err) == (0, "")
    for sink in SINKS:
        for kind in EventType:
            assert f"──── {sink} · {kind} · " in out
    assert SECRET not in out
    assert "class 'voice' is not defined" in out


def test_preview_writes_files(tmp_path: Path) -> None:
    """``--out`` writes what would be sent to files, a mail also as it goes over the wire."""
    file, folder = written(tmp_path, config(SINKS)), tmp_path / "out"
    code, _, _ = in_process(
        "preview", "--config", str(file), "--event", "job.failed", "--sink", "mail", "--out", str(folder)
    )
    assert code == 0
    names = {path.name for path in (folder / "mail" / "job.failed").iterdir()}
    assert names == {"headers.txt", "body.txt", "body.html", "mail.eml", "mail.html"}
    assert "mail/job.failed/body.html" in (folder / "index.html").read_text()


def test_preview_suggests(tmp_path: Path) -> None:
    """A misspelt name is the command's fault: exit code 2 and a suggestion."""
    code, _, err = in_process("preview", "--config", str(written(tmp_path, config(SINKS))), "--sink", "caht")
    assert (code, err) == (2, "error: there is no sink 'caht'; did you mean \"chat\"?\n")


@pytest.mark.parametrize(
    ("sink", "event", "told"),
    [
        ("tickets", "job.failed", True),
        ("tickets", "job.succeeded", False),
        ("tickets", "appliance.recovered", True),
        ("screen", "job.failed", False),
        ("screen", "appliance.recovered", False),
        ("screen", "job.succeeded", True),
    ],
)
def test_preview_says_where_no_route_leads(sink: str, event: str, told: bool, tmp_path: Path) -> None:
    """A sink that never gets such an event shows it all the same, with a note; recoveries follow failures."""
    setting = config(SINKS)
    setting["routes"] = [{"match": {"event": ["*.failed"]}, "sinks": ["tickets"]}, {"sinks": ["screen"]}]
    code, out, err = in_process(
        "preview", "--sink", sink, "--event", event, "--config", str(written(tmp_path, setting))
    )
    assert code == 0
    assert out
    assert err.count("note: no route sends this event to this sink") == (not told)


async def test_a_test_is_sent_and_marked(tmp_path: Path, in_thread: Any) -> None:
    """``test`` sends through the real sink and says what was answered; a refusal makes the exit code 1."""
    async with Receiver() as receiver, Mailbox() as mailbox:
        mail = {**SINKS["mail"], "host": "127.0.0.1", "port": mailbox.port, "tls": "none"}
        file = str(
            written(tmp_path, config({"tickets": {"type": "webhook", "url": receiver.url}, "mail": mail}))
        )
        assert await in_thread("test", "mail", "--config", file) == (
            0,
            "mail: sent; the receiver responded: 250 kept as mail 1\n",
            "",
        )
        (got,) = mailbox.mails
        assert "[TEST]" in str(got.message["Subject"])
        code, out, _ = await in_thread("test", "tickets", "--config", file)
        assert (code, out) == (0, "tickets: sent; the receiver responded: HTTP 200\n")
        assert receiver.requests[0].document["test"] is True
        receiver.otherwise = ScriptedResponse(status=403)
        code, out, _ = await in_thread("test", "tickets", "--config", file)
        assert code == 1
        assert "403" in out


async def test_simulate_serves_until_it_is_stopped() -> None:
    """A real ``simulate`` process answers over HTTP and ends at SIGTERM with 0."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmc_notify", "simulate", "--port", "0", "--scenario", "large"),
        *("--jobs", "3", "--rows", "2", "--spelling", "upper"),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        url = (await process.stdout.readline()).decode().split()[-1]

        def jobs() -> Any:
            with urlopen(f"{url}/api/cmc.configurator/1.0/jobs") as answer:
                return msgspec.json.decode(answer.read())

        assert {job["job_status"] for job in await asyncio.to_thread(jobs)} == {"SUCCESS", "IN_PROGRESS"}
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scenario", "nigth-push"], "did you mean night-push?"),
        (["--scenario", "steady", "--jobs", "3"], "has no option jobs"),
        (["--appliances", "2"], "at least 8"),
        (["--spelling", "lower"], "write one of camel, upper"),
    ],
)
def test_simulate_refuses_what_it_does_not_know(options: list[str], said: str) -> None:
    """A wrong scenario or option is exit code 2 and one line with the remedy."""
    code, out, err = in_process("simulate", "--port", "0", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_every_event_is_as_the_schema_says() -> None:
    """The printed schema describes each sample event, and does not describe a broken one."""
    code, out, _ = in_process("schema", "event")
    assert code == 0
    schema = msgspec.json.decode(out)
    for event in samples():
        document = msgspec.json.decode(encode(event))
        assert not [*faults(schema, schema, document)]
        assert [*faults(schema, schema, {**document, "type": "job.lost"})]
        assert [*faults(schema, schema, {**document, "failures": None})]
        assert [*faults(schema, schema, {key: document[key] for key in document if key != "severity"})]


def faults(root: dict[str, Any], schema: dict[str, Any], value: Any, place: str = "$") -> Any:
    """As much of JSON Schema as the event's uses."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None),
    }  # fmt: skip
    unknown = schema.keys() - {
        "$schema", "$defs", "$ref", "title", "description", "default", "type", "properties", "required",
        "anyOf", "enum", "items",
    }  # fmt: skip
    assert not unknown, unknown
    if "$ref" in schema:
        yield from faults(root, root["$defs"][schema["$ref"].rpartition("/")[2]], value, place)
    if "anyOf" in schema and all([*faults(root, each, value, place)] for each in schema["anyOf"]):
        yield f"{place}: none of anyOf"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is not in enum"
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        yield f"{place}: no {schema['type']}"
        return
    if isinstance(value, dict):
        yield from (f"{place}.{key}: missing" for key in schema.get("required", ()) if key not in value)
        for key, each in schema.get("properties", {}).items():
            if key in value:
                yield from faults(root, each, value[key], f"{place}.{key}")
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            yield from faults(root, schema["items"], each, f"{place}[{number}]")


def test_the_list_of_commands_says_what_each_says() -> None:
    """``--help`` lists every command with the words of its own help."""
    code, out, _ = in_process("--help")
    assert code == 0
    for name, text in COMMANDS.items():
        assert f" {name} " in out
        code, own, _ = in_process(name, "--help")
        assert code == 0
        assert " ".join(text.split()) in " ".join(own.split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["schema", "event"]])
def test_the_quick_ones_import_little(arguments: list[str]) -> None:
    """What needs no database, HTTP or sink does not wait for their imports."""
    heavy = ("sqlalchemy", "aiohttp", "slack_sdk", "jinja2")
    code = (
        "import sys; from cmc_notify.cli import main\n"
        f"try: main()\nfinally: print([name for name in {heavy} if name in sys.modules])"
    )
    assert real_python(code, *arguments).splitlines()[-1] == "[]"


def real_python(code: str, *arguments: str) -> str:
    """A new interpreter's standard output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    return done.stdout


def test_an_unknown_command_is_2() -> None:
    """A misspelt command has a suggestion and exit code 2."""
    done = real_process("jbos")
    assert done.code == 2
    assert "Did you mean 'jobs'?" in done.err


@pytest.mark.parametrize(("sink", "file"), [("chat", "slack.html"), ("mail", "mail.html")])
def test_preview_writes_a_picture(sink: str, file: str, tmp_path: Path) -> None:
    """Beside what is sent lies a page that shows it as its reader sees it, and the index leads to it."""
    made, folder = written(tmp_path, config(SINKS)), tmp_path / "out"
    code, _, _ = in_process(
        "preview", "--config", str(made), "--event", "job.failed", "--sink", sink, "--out", str(folder)
    )
    assert code == 0
    page = (folder / sink / "job.failed" / file).read_text()
    assert "class &#x27;voice&#x27; is not defined" in page
    assert f"{sink}/job.failed/{file}" in (folder / "index.html").read_text()


async def test_preview_watches(tmp_path: Path) -> None:
    """A saved template is shown at once, a broken config is told, and an interrupt ends it with 0."""
    templates = tmp_path / "templates" / "console"
    templates.mkdir(parents=True)
    file = written(
        tmp_path, {**config({"screen": SINKS["screen"]}), "templates_dir": str(tmp_path / "templates")}
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmc_notify", "preview", "--watch", "--event", "job.failed"),
        *("--config", str(file)),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            assert b"waiting for" in await process.stderr.readline()
            (templates / "default.txt.j2").write_text("mine: {{ job.id }}\n")
            assert b"waiting for" in await process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert b"mine: 42" in await process.stdout.read()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
