"""The example of docs/how-to/write-a-sink.md, installed as a package of its own and used by a real bridge."""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cmc_notify.simulator import OPEN, Simulator
from support.bridge_process import BridgeProcess, bridge

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-sink.md"
FILE = re.compile(r"^\*\*`(.+?)`\*\*\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ERROR = "no route to the interpreter\n<131>1 2026-11-23T09:20:00Z - cmc-notify - job.succeeded - all is well"


def install(site: Path) -> None:
    """Write the page's files as pip would leave them."""
    files = dict(
        re.findall(r"^\*\*`(.+?)`\*\*\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    metadata = site / f"cmc_notify_syslog-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(points))
    for name, text in files.items():
        place = site / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


class SyslogServer:
    """Reads records framed as in RFC 6587, and nothing else."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                length = int(await reader.readuntil(b" "))
                self.records.put_nowait((await reader.readexactly(length)).decode())
        except asyncio.IncompleteReadError as end:
            if end.partial:
                self.records.put_nowait(f"cut off: {end.partial!r}")
        finally:
            writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[SyslogServer]:
    """A syslog server on loopback."""
    syslog = SyslogServer()
    server = await asyncio.start_server(syslog.talk, "127.0.0.1", 0)
    syslog.port = server.sockets[0].getsockname()[1]
    async with server:
        yield syslog


@pytest.mark.parametrize("users_template", [False, True])
async def test_the_documented_sink_works(
    users_template: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's package is found, checked and told, by its template or the user's; nothing is forged."""
    install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    async with listening() as syslog, Simulator(auth=OPEN) as sim:
        job = sim.jobs.add(feature_ids=[3], site_ids=[1])
        job.start()
        job.finish("Failed", error_text=ERROR)
        config = {
            "controllers": {"emea": {"url": sim.url, "first_run": "all", "poll": {"interval": "200ms"}}},
            "sinks": {"log": {"type": "syslog", "host": "127.0.0.1", "port": syslog.port}},
            "routes": [{"sinks": ["log"]}],
        }
        if users_template:
            (tmp_path / "templates" / "syslog").mkdir(parents=True)
            (tmp_path / "templates/syslog/default.subject.j2").write_text("Achtung: {{ job.error_text }}")
            config["templates_dir"] = str(tmp_path / "templates")
        async with bridge(tmp_path, config) as process:
            async with asyncio.timeout(20):
                record = await syslog.records.get()
            assert await process.stop() == 0
        assert re.match(r"<131>1 \S+Z - cmc-notify - job\.failed \[cmc@32473 key=\"\S+-log\"\] ", record)
        assert ("] Achtung: " in record) is users_template
        assert ("failed before it reached any appliance" in record) is not users_template
        assert "no route to the interpreter" in record
        assert "\n" not in record
        assert syslog.records.empty()


async def test_its_settings_are_checked_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the sink's own keys is told with its place and the nearest key."""
    install(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    process = BridgeProcess(
        tmp_path,
        {
            "controllers": {"emea": {"url": "http://127.0.0.1:9"}},
            "sinks": {"log": {"type": "syslog", "host": "127.0.0.1", "prot": 601}},
            "routes": [{"sinks": ["log"]}],
        },
    )
    code, _out, err = await process.run_command("run")
    assert code == 2
    assert "sinks.log.prot" in err
    assert "port" in err
