"""The image's recipe, read as the builder reads it: what a container relies on can't be lost unseen."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from threading import Thread

import pytest

from cmc_notify.settings import load
from cmc_notify.sinks.console import ConsoleSettings

ROOT = Path(__file__).parents[2]
RECIPE = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))


def instructions(name: str) -> list[str]:
    """The arguments of each ``name``, in order."""
    return [line.split(maxsplit=1)[1] for line in RECIPE.splitlines() if line.startswith(f"{name} ")]


def variables() -> dict[str, str]:
    """What ENV sets for the bridge."""
    words = (word.partition("=") for text in instructions("ENV") for word in shlex.split(text))
    return {name: value for name, _, value in words if name.startswith("CMC_NOTIFY_")}


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    """A COPY of what the checkout lacks, or what .dockerignore keeps back, would fail the build."""
    let_through = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    copied = [text.split()[:-1] for text in instructions("COPY") if not text.startswith("--from")]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_through), source


def test_the_process_gets_the_signals_and_is_not_root() -> None:
    """No shell stands between the signal and the bridge, and the user is a fixed number that is not 0."""
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["cmc-notify"]
    assert json.loads(instructions("CMD")[-1]) == ["run"]
    user, group = instructions("USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    last_stage = RECIPE[RECIPE.rindex("\nFROM ") :]
    assert "\nUSER " in last_stage


def test_the_image_s_settings_are_understood(tmp_path: Path) -> None:
    """Its variables are keys of the config: it listens on every address and keeps its store in the volume."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "controllers: {lab: {url: 'http://127.0.0.1:8081'}}\n"
        "sinks: {screen: {type: console}}\nroutes: [{sinks: [screen]}]\n"
        "http: {token: a-long-enough-token-for-a-test}\n"
    )
    settings = load(config, environ=variables(), sink_types={"console": ConsoleSettings})
    assert not settings.http.loopback
    assert f"EXPOSE {settings.http.port}" in RECIPE
    volume = instructions("VOLUME")[-1]
    assert settings.store.url.get_secret_value().startswith(f"sqlite:///{volume}/")
    assert f"install -d -o 10001 -g 10001 {volume}" in RECIPE


@contextmanager
def serving(status: int) -> Iterator[int]:
    """A server on loopback that answers ``/healthz`` with ``status``; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            """Say nothing."""

    server = TCPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_asks_the_bridge(status: int, healthy: bool) -> None:
    """It is well exactly while /healthz answers 200, on the port that the bridge listens on, proxy or not."""
    options, _, command = instructions("HEALTHCHECK")[-1].partition("CMD ")
    assert "--timeout" in options
    program, *arguments = json.loads(command)
    assert program == "python"
    with serving(status) as port:
        environment = os.environ | {
            "CMC_NOTIFY_HTTP__LISTEN": f"0.0.0.0:{port}",
            "http_proxy": "http://127.0.0.1:9",
        }
        ended = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, check=False, timeout=20
        )
    assert (ended.returncode == 0) is healthy, ended.stderr
