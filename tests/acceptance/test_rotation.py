"""Secrets that change while a real bridge runs are used without a restart, and nothing else is."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from sqlalchemy import make_url
from typing_extensions import override

from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from support import fast_secret_reload
from support.bridge_process import BridgeProcess, Log
from support.postgres import PostgresServer

OLD, NEW = "whsec_" + "b2xk" * 8, "whsec_" + "bmV3" * 8
OLD_TOKEN, NEW_TOKEN = "old-token-" * 3, "new-token-" * 3


class Watchful(BridgeProcess):
    """A bridge that looks at its secrets' files often."""

    @property
    @override
    def command(self) -> list[str]:
        return [sys.executable, fast_secret_reload.__file__]


def named(log: list[Log], event: str) -> list[Log]:
    """The log's lines of one kind."""
    return [line for line in log if line.get("event") == event]


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Secrets as Kubernetes mounts them: each file is a link through ``..data`` to the present folder."""
    (tmp_path / "..first").mkdir()
    (tmp_path / "..data").symlink_to("..first")
    for name, secret in {"signing": OLD, "token": OLD_TOKEN}.items():
        (tmp_path / "..first" / name).write_text(f"{secret}\n")
        (tmp_path / name).symlink_to(f"..data/{name}")
    return tmp_path


def swap(mount: Path, folder: str, **secrets: str) -> None:
    """Put another folder in the place of the first, at one stroke."""
    (mount / folder).mkdir()
    for name, secret in secrets.items():
        (mount / folder / name).write_text(f"{secret}\n")
    (mount / "..next").symlink_to(folder)
    (mount / "..next").replace(mount / "..data")


def config(sim: Simulator, receiver: Receiver, mount: Path) -> dict[str, Any]:
    """A signed webhook and a token for the pages."""
    return {
        "controllers": {
            "emea": {
                "url": sim.url,
                "first_run": "all",
                "poll": {"interval": "100ms", "idle_interval": "100ms"},
            }
        },
        "sinks": {
            "hook": {"type": "webhook", "url": receiver.url, "signing_secret_file": str(mount / "signing")}
        },
        "routes": [{"sinks": ["hook"]}],
        "http": {"listen": "127.0.0.1:0", "token_file": str(mount / "token")},
        "shutdown_grace": "3s",
    }


def fail_a_job(sim: Simulator) -> None:
    """One failed job more."""
    job = sim.jobs.add(feature_ids=[3], site_ids=[1])
    job.start()
    job.finish("Failed", error_text="no route")


async def opens(process: BridgeProcess, token: str) -> int:
    """What a stranger with this token is answered."""
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.1"}
    async with (
        ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{process.port}/api/v1/status") as answer,
    ):
        return answer.status


async def test_a_rotated_secret_is_used_and_an_edited_config_is_not(mount: Path) -> None:
    """The next message is signed anew and the pages ask for the new token; the YAML waits for SIGHUP."""
    async with Simulator(auth=OPEN) as sim, Receiver() as receiver:
        process = Watchful(mount, config(sim, receiver, mount))
        try:
            await process.start()
            receiver._secrets = (OLD,)
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 1)
            edited = config(sim, receiver, mount) | {"routes": [], "sinks": {}}
            (mount / "cmc-notify.yaml").write_text(yaml.safe_dump(edited))
            assert (await opens(process, OLD_TOKEN), await opens(process, NEW_TOKEN)) == (200, 401)
            swap(mount, "..second", signing=NEW, token=NEW_TOKEN)
            await process.wait(lambda log: bool(named(log, "bridge.reloaded")))
            receiver._secrets = (NEW,)
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 2)
            assert [await opens(process, each) for each in (OLD_TOKEN, NEW_TOKEN)] == [200, 200], (
                "for a minute"
            )
            [changed] = named(process.log, "secrets.changed")
            assert changed["files"] == [str(mount / "signing"), str(mount / "token")]
            assert not named(process.log, "bridge.reload_partial")
            await process.polls(5)
            assert len(named(process.log, "bridge.reloaded")) == 1
            assert await process.stop() == 0
            assert {request.status for request in receiver.requests} == {200}
            for secret in (OLD, NEW, OLD_TOKEN, NEW_TOKEN):
                assert secret not in str(process.log)
        finally:
            await process.kill()


async def test_a_secret_that_can_not_be_used_leaves_the_old_one(mount: Path) -> None:
    """Gone, empty, or refused: told once each, the bridge goes on, and uses what comes next."""
    async with Simulator(auth=OPEN) as sim, Receiver(secrets=[OLD]) as receiver:
        process = Watchful(mount, config(sim, receiver, mount))
        secret = mount / "..first" / "signing"
        try:
            await process.start()
            secret.unlink()
            await process.wait(lambda log: len(named(log, "secrets.unreadable")) == 1)
            secret.write_text(OLD)  # it is back: nothing has changed but a line break
            await process.wait(lambda log: len(named(log, "bridge.reloaded")) == 1)
            secret.write_text("")
            await process.wait(lambda log: len(named(log, "secrets.unreadable")) == 2)
            secret.write_text("whsec_no base64 at all")
            await process.wait(lambda log: bool(named(log, "bridge.reload_refused")))
            await process.polls(10)
            assert len(named(process.log, "bridge.reload_refused")) == 1
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 1)
            secret.write_text(NEW)
            await process.wait(lambda log: len(named(log, "bridge.reloaded")) == 2)
            receiver._secrets = (NEW,)
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 2)
            assert len(named(process.log, "secrets.unreadable")) == 2
            assert await process.stop() == 0
            for text in (OLD, NEW, "no base64 at all"):
                assert text not in str(process.log)
        finally:
            await process.kill()


async def test_a_rotated_password_of_the_database(mount: Path, postgresql_server: PostgresServer) -> None:
    """The new one in the address's file is enough: the bridge signs in with it where it connects anew."""
    plain = make_url(await postgresql_server.new_database())
    access = postgresql_server.data / "pg_hba.conf"
    rules = access.read_text()

    async def sql(statement: str) -> None:
        await asyncio.to_thread(postgresql_server.run, statement)

    def write_url(password: str) -> None:
        url = plain.set(username="bridge", password=password)
        (mount / "url").write_text(url.render_as_string(hide_password=False))

    await sql("CREATE ROLE bridge LOGIN SUPERUSER PASSWORD 'hunter1';")
    access.write_text(f"local {plain.database} bridge scram-sha-256\n{rules}")
    await sql("SELECT pg_reload_conf();")
    write_url("hunter1")
    async with Simulator(auth=OPEN) as sim, Receiver(secrets=[OLD]) as receiver:
        process = Watchful(mount, config(sim, receiver, mount) | {"store": {"url_file": str(mount / "url")}})
        try:
            await process.start()
            await sql("ALTER ROLE bridge PASSWORD 'hunter2';")
            await sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{plain.database}';"
            )
            await process.wait(lambda log: "check the user and password in store.url" in str(log))
            write_url("hunter2")
            await process.wait(lambda log: bool(named(log, "bridge.reloaded")))
            fail_a_job(sim)
            await receiver.wait(lambda r: len(r.accepted) == 1)
            assert not named(process.log, "bridge.reload_partial")
            assert await process.stop() == 0
            assert "hunter" not in str(process.log)
        finally:
            await process.kill()
            access.write_text(rules)
            await sql("SELECT pg_reload_conf();")
            await sql("DROP ROLE bridge;")


async def test_a_secret_that_is_rotated_while_the_bridge_waits_for_its_store(mount: Path) -> None:
    """The store's own address comes from a file, too: corrected there, the bridge finds the store."""
    async with Simulator(auth=OPEN) as sim, Receiver(secrets=[OLD]) as receiver:
        (mount / "plain").write_text("no folder")
        (mount / "url").write_text(f"sqlite:///{mount}/plain/store.db")
        process = Watchful(mount, config(sim, receiver, mount) | {"store": {"url_file": str(mount / "url")}})
        try:
            await process.start("store.unavailable")
            await asyncio.to_thread((mount / "url").write_text, f"sqlite:///{mount}/store.db")
            await process.wait(lambda log: bool(named(log, "bridge.started")))
            (mount / "url").write_text(f"sqlite:///{mount}/other.db")
            await process.wait(lambda log: bool(named(log, "bridge.reload_partial")))
            assert named(process.log, "bridge.reload_partial")[0]["keys"] == ["store.url"]
            assert await process.stop() == 0
            assert not (mount / "other.db").exists()
        finally:
            await process.kill()
