"""A real bridge and a real mail server: a job's whole life as its reader finds it in the mailbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from cmc_notify.simulator import OPEN, Simulator
from support.bridge_process import bridge


class Office:
    """Keeps what a mail server took, and refuses one reader for good."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.readers: list[list[str]] = []
        self._changed = asyncio.Condition()

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take all readers but one."""
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Take every mail."""
        assert isinstance(envelope.content, bytes)
        async with self._changed:
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.readers.append(envelope.rcpt_tos)
            self._changed.notify_all()
        return "250 taken"

    @property
    def events(self) -> list[str]:
        """Of the mails, in the order of arrival."""
        return [str(mail["X-Cmc-Notify-Event"]) for mail in self.mails]

    async def wait(self, event: str, times: int = 1) -> None:
        """Until so many mails about this event have come."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.events.count(event) >= times)


@asynccontextmanager
async def mail_server() -> AsyncIterator[Office]:
    """An SMTP server on loopback."""
    office = Office()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(office, hostname="mx.example.net"), "127.0.0.1", 0
    )
    office.port = server.sockets[0].getsockname()[1]
    async with server:
        yield office


async def test_a_jobs_mails_are_one_thread_over_a_restart(tmp_path: Path) -> None:
    """From queued to repaired, killed in between: one thread in the order of events, nothing twice, for the
    readers who can be reached; the failure's text is in text and HTML.
    """
    async with mail_server() as office, Simulator(auth=OPEN) as sim:
        mail = {"type": "email", "host": "127.0.0.1", "port": office.port, "tls": "none"}
        people = {"from": "cmc@example.net", "to": ["noc@example.net", "gone@example.net", "ops@example.net"]}
        config = {
            "controllers": {
                "emea": {"url": sim.url, "poll": {"interval": "200ms", "idle_interval": "200ms"}}
            },
            "sinks": {"mail": {**mail, **people}},
            "routes": [{"sinks": ["mail"]}],
        }
        async with bridge(tmp_path, config) as process:
            await process.polls(1)
            job = sim.jobs.add(feature_ids=[3], site_ids=[1])
            await office.wait("job.queued")
            job.start()
            await office.wait("job.started")
            await process.kill()
        async with bridge(tmp_path, config) as process:
            job.finish("Failed", error_text="no <b>route</b> to host\n  via 10.1.2.3")
            await office.wait("job.failed")
            job.rerun()
            await office.wait("job.reopened")
            job.finish("Success")
            await office.wait("job.succeeded")
            await process.drained()
            assert await process.stop() == 0
    # Killed between the server's answer and the record of it, a bridge sends again under the same id.
    known = list({str(mail["Message-ID"]): mail for mail in office.mails}.values())
    told = [str(mail["X-Cmc-Notify-Event"]) for mail in known]
    assert told == ["job.queued", "job.started", "job.failed", "job.reopened", "job.started", "job.succeeded"]
    assert {tuple(readers) for readers in office.readers} == {("noc@example.net", "ops@example.net")}
    assert len({str(mail["References"]) for mail in office.mails}) == 1
    begin = f"[cmc-notify] emea: push job {job.id} "
    assert [str(mail["Subject"]) for mail in known if not str(mail["Subject"]).startswith(begin)] == []
    plain, page = (known[2].get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert page is not None
    assert "no <b>route</b> to host\n  via 10.1.2.3" in plain.get_content().replace("\r\n", "\n")
    assert "no &lt;b&gt;route&lt;/b&gt; to host<br>  via 10.1.2.3" in page.get_content()
