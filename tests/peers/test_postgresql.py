"""A store on Debian's PostgreSQL: through PgBouncer, over verified TLS, and after a standby was promoted."""

import shutil
from pathlib import Path

import pytest
import trustme

from cmc_notify.errors import StoreUnavailable
from cmc_notify.simulator import OPEN, Simulator
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.store import open_store
from support.bridge_process import bridge
from support.debian_postgres import PASSWORD, DebianPostgres, pgbouncer

POLL = {"interval": "200ms", "idle_interval": "200ms"}


@pytest.fixture
async def server(tmp_path: Path) -> DebianPostgres:
    """A server that is not started yet."""
    made = DebianPostgres(tmp_path / "primary")
    await made.initialize()
    return made


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_bridge_works_through_pgbouncer(tmp_path: Path, server: DebianPostgres, mode: str) -> None:
    """Polls are committed and messages sent in either mode, also by a second start on the same store."""
    async with (
        server.running(),
        pgbouncer(server, tmp_path / "pgbouncer", mode) as port,
        Simulator(auth=OPEN) as simulator,
        Receiver() as receiver,
    ):
        config = {
            "controllers": {"emea": {"url": simulator.url, "poll": POLL}},
            "sinks": {"hook": {"type": "webhook", "url": receiver.url}},
            "routes": [{"sinks": ["hook"]}],
            "store": {"url": f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"},
        }
        for number in (1, 2):
            async with bridge(tmp_path, config) as process:
                await process.polls(3)
                job = simulator.jobs.add(appliance_serial_numbers=[f"V{number}"])
                job.start()
                await process.polls(2)
                job.finish("Success")
                await _ended(receiver, number)
                assert await process.stop() == 0
                assert not [line for line in process.log if line.get("level") == "error"]


async def _ended(receiver: Receiver, jobs: int) -> None:
    """Wait until so many jobs' ends were received."""
    await receiver.wait(lambda r: _count(r, b"job.succeeded") >= jobs, timeout=60)


def _count(receiver: Receiver, word: bytes) -> int:
    return sum(word in each.body for each in receiver.requests)


async def test_verify_full_takes_the_right_name_alone(tmp_path: Path, server: DebianPostgres) -> None:
    """With verify-full a certificate counts for its own name, by the authority of sslrootcert."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    key, chain, root = (server.folder / name for name in ("key.pem", "cert.pem", "root.pem"))
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(root))
    key.chmod(0o600)
    shutil.chown(key, "postgres", "postgres")
    async with server.running(ssl="on", ssl_key_file=str(key), ssl_cert_file=str(chain)):
        tls = f"sslmode=verify-full&sslrootcert={root}"
        address = f"postgresql://postgres:{PASSWORD}@{{}}:{server.port}/postgres?{tls}"
        await (await open_store(address.format("localhost"), clock=lambda: 0.0, exclusive=True)).close()
        with pytest.raises(StoreUnavailable) as caught:
            await open_store(address.format("127.0.0.1"), clock=lambda: 0.0, exclusive=True)
        assert "certificate" in str(caught.value)
        assert PASSWORD not in str(caught.value)


async def test_a_promoted_standby_takes_over(tmp_path: Path, server: DebianPostgres) -> None:
    """With several hosts and target_session_attrs the bridge goes on at the server that takes writes."""
    standby = DebianPostgres(tmp_path / "standby")
    async with Simulator(auth=OPEN) as simulator, Receiver() as receiver:
        hosts = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        config = {
            "controllers": {"emea": {"url": simulator.url, "poll": POLL}},
            "sinks": {"hook": {"type": "webhook", "url": receiver.url}},
            "routes": [{"sinks": ["hook"]}],
            "store": {
                "url": f"postgresql://postgres:{PASSWORD}@{hosts}/postgres?target_session_attrs=read-write"
            },
        }
        async with server.running() as primary:
            await standby.copy_of(primary)
            async with standby.running(), bridge(tmp_path, config) as process:
                await process.polls(2)
                await primary.tool("pg_ctl", "stop", "-m", "immediate", "-D", str(primary.data))
                await standby.promote()
                job = simulator.jobs.add(appliance_serial_numbers=["V1"])
                job.start()
                job.finish("Success")
                await receiver.wait(lambda r: _count(r, b"job.succeeded") >= 1, timeout=60)
                assert await process.stop() == 0
