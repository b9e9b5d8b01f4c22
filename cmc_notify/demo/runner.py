"""Runs the demo: simulator, receivers and bridge process run inside the block, and are stopped after it."""

import asyncio
import base64
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml

from cmc_notify.demo.checks import CHAT_EVENTS, MAIL_EVENTS, TICKET_EVENTS, AllReceived, Summary, summarize
from cmc_notify.demo.received import Arrival, chat_arrival, chat_update, mail_arrival, ticket_arrival
from cmc_notify.errors import CmcNotifyError
from cmc_notify.simulator import Auth, Simulator, Version
from cmc_notify.simulator.mailbox import Mailbox
from cmc_notify.simulator.receiver import Receiver
from cmc_notify.simulator.slack import SlackServer
from cmc_notify.store import open_store

CONTROLLER = "emea"
CHANNEL = "netops"
SPEED = 56.0
"""With this speed, the night's 42 minutes pass in 45 seconds."""
INTERVAL = 2.0
"""Seconds between polls: almost two minutes of the night."""
_START_TIMEOUT = 15.0
_STOP_TIMEOUT = 12.0
_CHECK_EVERY = 0.2
_ALL = 100_000


class BridgeEnded(CmcNotifyError):
    """The bridge process ended unexpectedly; the message has its last log lines."""


class Demo:
    """``async with Demo(on_arrival) as demo``; ``on_arrival`` gets each message at a receiver."""

    def __init__(self, on_arrival: Callable[[Arrival], None], *, speed: float = SPEED) -> None:
        self._on_arrival = on_arrival
        self._speed = speed
        self._exits = AsyncExitStack()
        self._last_lines: deque[str] = deque(maxlen=5)
        self._serving = asyncio.Event()
        self._slack = SlackServer(
            channels={CHANNEL: "C0NETOPS001"},
            on_message=lambda message: on_arrival(chat_arrival(message, CHANNEL)),
            on_update=lambda message: on_arrival(chat_update(message, CHANNEL)),
        )
        self._secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
        self._tickets = Receiver(
            secrets=[self._secret], on_request=lambda request: on_arrival(ticket_arrival(request))
        )
        self._mailbox = Mailbox(on_mail=lambda mail: on_arrival(mail_arrival(mail)))
        self._sim = Simulator("night-push", speed=speed, auth=Auth())
        self.config = Path()
        """The config file that the bridge runs with."""
        self.dashboard = ""
        """The address of the bridge's dashboard."""
        self._bridge: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start everything. Raises BridgeEnded if the bridge does not start."""
        try:
            folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="cmc-notify-demo-")))
            for receiver in (self._slack, self._tickets, self._mailbox):
                await self._exits.enter_async_context(receiver)
            port = _free_port()
            self.dashboard = f"http://127.0.0.1:{port}/"
            self.config = folder / "cmc-notify.yaml"
            # The scenario's clock starts with the simulator, so the bridge must start soon after it.
            address = await self._sim.start()
            self._exits.push_async_callback(self._sim.stop)
            self.config.write_text(yaml.safe_dump(self._settings(address, port, folder)), encoding="utf-8")
            self.config.chmod(0o600)
            await self._start_bridge(folder)
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    async def bridge_ends(self) -> None:
        """Wait until the bridge ends, and raise BridgeEnded; normally cancelled."""
        assert self._bridge
        code = await self._bridge.wait()
        raise BridgeEnded(
            f"the bridge ended with exit code {code}: {' / '.join(self._last_lines) or 'it logged nothing'}"
        )

    async def play(self) -> Summary:
        """Wait for the scenario's end and until everything is delivered; summarize it."""
        await self._sim.wait_finished()
        ended = time.time()
        seen: set[float] = set()
        while True:
            store = await open_store(self._store_url, clock=time.time, exclusive=False)
            try:
                ledger = store.ledger
                meta = (await ledger.snapshots())[CONTROLLER]
                if meta.last_poll_at and meta.last_poll_at > ended:
                    seen.add(meta.last_poll_at)
                depths = await ledger.depths()
                still_open = await ledger.jobs(open_only=True)
                # The first poll that ends after the scenario may have started before; the second has not.
                if len(seen) > 1 and not still_open and not any(depth.pending for depth in depths):
                    events = await ledger.events(limit=_ALL)
                    received = AllReceived(self._slack.messages, self._tickets.requests, self._mailbox.mails)
                    return summarize(self._visible(), self._sim.clock.start, events, depths, received)
            finally:
                await store.close()
            await asyncio.sleep(_CHECK_EVERY)

    def _visible(self) -> list[Version]:
        """Return the job states that the controller served, and each job's last one in any case."""
        served = {version for request in self._sim.served for version in request.versions}
        last = {version.key: version for version in self._sim.history}
        return [
            version
            for version in self._sim.history
            if (version.key, version.number) in served or last[version.key] is version
        ]

    @property
    def _store_url(self) -> str:
        return f"sqlite:///{self.config.parent}/store.db"

    def _settings(self, address: str, port: int, folder: Path) -> dict[str, Any]:
        auth = self._sim.sign_in.auth
        return {
            "controllers": {
                CONTROLLER: {
                    "url": address,
                    "auth": {"method": "access_code", "access_code": auth.access_code},
                    "poll": {"interval": f"{INTERVAL}s", "idle_interval": f"{INTERVAL}s", "settle": "3s"},
                    # The night has started before the first poll; jobs that ended by then are notified too.
                    "first_run": "2h",
                }
            },
            "sinks": {
                "chat": {
                    "type": "slack",
                    "token": self._slack.token,
                    "channel": f"#{CHANNEL}",
                    "api_url": self._slack.api_url,
                    "update_every": "1s",
                },
                "tickets": {
                    "type": "webhook",
                    "url": f"{self._tickets.url}/tickets",
                    "signing_secret": self._secret,
                },
                "mail": {
                    "type": "email",
                    "host": "127.0.0.1",
                    "port": self._mailbox.port,
                    "tls": "none",
                    "from": "CMC bridge <cmc@example.net>",
                    "to": ["noc@example.net"],
                    # Only the jobs' ends are mailed: readers in the morning need no details of the night.
                    "send_resolved": False,
                },
            },
            "routes": [
                {"match": {"event": [*TICKET_EVENTS]}, "sinks": ["chat", "tickets"], "continue": True},
                {
                    "match": {"event": [kind for kind in CHAT_EVENTS if kind not in TICKET_EVENTS]},
                    "sinks": ["chat"],
                    "continue": True,
                },
                {"match": {"event": [*MAIL_EVENTS]}, "sinks": ["mail"]},
            ],
            "store": {"url": f"sqlite:///{folder}/store.db"},
            "http": {"listen": f"127.0.0.1:{port}", "external_url": self.dashboard.rstrip("/")},
            "log": {"format": "json", "level": "info"},
        }

    async def _start_bridge(self, folder: Path) -> None:
        variables = {key: value for key, value in os.environ.items() if not key.startswith("CMC_NOTIFY_")}
        # Its own session: Ctrl-C reaches only this process, which then stops the bridge.
        self._bridge = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cmc_notify", "run", "--config", str(self.config)),
            cwd=folder,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._exits.push_async_callback(self._stop_bridge)
        reading = asyncio.create_task(self._read_log(self._bridge))
        self._exits.callback(reading.cancel)
        serving = asyncio.create_task(self._serving.wait())
        await asyncio.wait((serving, reading), timeout=_START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        if not self._serving.is_set():
            raise BridgeEnded(
                f"the bridge did not start: {' / '.join(self._last_lines) or 'it logged nothing'}"
            )

    async def _read_log(self, bridge: asyncio.subprocess.Process) -> None:
        """Read the bridge's log to its end; an unread pipe would block it."""
        assert bridge.stderr
        async for raw in bridge.stderr:
            line = raw.decode(errors="replace").strip()
            self._last_lines.append(line)
            with suppress(msgspec.DecodeError):
                entry = msgspec.json.decode(line)
                if isinstance(entry, dict) and entry.get("event") == "bridge.started":
                    self._serving.set()

    async def _stop_bridge(self) -> None:
        bridge = self._bridge
        if bridge is None or bridge.returncode is not None:
            return
        with suppress(ProcessLookupError):
            bridge.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await bridge.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                bridge.kill()
            await bridge.wait()


def _free_port() -> int:
    """Return a free port. Links in messages need it before the bridge listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
