"""Test certificates, proxies and clocks."""

import asyncio
import hashlib
import ssl
import time
import traceback
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from cmc_notify.errors import ConfigError, ControllerUnreachable
from support.raw_server import HEAD, JOBS, client, raw_server, says


@pytest.fixture(scope="module")
def pin(certificate: trustme.LeafCert) -> str:
    """The fingerprint of the controller's certificate."""
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return hashlib.sha256(der).hexdigest()


async def test_an_unknown_certificate_is_refused_with_the_remedy(url: str) -> None:
    """A self-made certificate is not trusted by itself, and the error says which settings help."""
    async with client(url) as controller:
        assert controller.warnings == ()
        with pytest.raises(
            ControllerUnreachable,
            match=r"certificate: .*; set controllers\.emea\.tls\.ca_file .*, or controllers\.emea\.tls\.fing",
        ):
            await controller.list_jobs()


async def test_a_ca_file_makes_it_trusted(url: str, authority: trustme.CA, tmp_path: Path) -> None:
    """The authority's certificate in tls.ca_file is all that is needed; another authority's is not enough."""
    ours, other = tmp_path / "ours.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(ours)
    trustme.CA().cert_pem.write_to_path(other)
    async with client(url, tls={"ca_file": ours}) as controller:
        assert await controller.list_jobs() == []
    async with client(url, tls={"ca_file": other}) as controller:
        with pytest.raises(ControllerUnreachable, match="certificate"):
            await controller.list_jobs()


async def test_a_pinned_certificate_is_trusted_whoever_signed_it(url: str, pin: str) -> None:
    """The right fingerprint suffices without an authority, colons or not."""
    with_colons = ":".join(pin[at : at + 2] for at in range(0, 64, 2)).upper()
    for written in (pin, with_colons):
        async with client(url, tls={"fingerprint_sha256": written}) as controller:
            assert await controller.list_jobs() == []
            assert controller.warnings == ()


@pytest.mark.parametrize("tls", [{}, {"verify": False}])
async def test_another_certificate_than_the_pinned_one_is_refused(
    url: str, pin: str, tls: dict[str, Any]
) -> None:
    """A wrong fingerprint is refused, also with verify off; the one that was met is named for comparison."""
    auth = {"method": "basic", "username": "u", "password": "p"}
    async with client(url, tls={"fingerprint_sha256": "ab" * 32, **tls}, auth=auth) as controller:
        with pytest.raises(
            ControllerUnreachable, match=f"fingerprint {pin}, not the one in controllers.emea.tls"
        ):
            await controller.list_jobs()


async def test_verification_can_be_turned_off_and_is_warned_about(url: str) -> None:
    """verify: false takes any certificate, and there is a warning to log at each start."""
    async with client(url, tls={"verify": False}) as controller:
        assert await controller.list_jobs() == []
        (warning,) = controller.warnings
    assert "controllers.emea.tls.verify" in warning


@pytest.fixture
def bridge_certificate(authority: trustme.CA, context: ssl.SSLContext, tmp_path: Path) -> Path:
    """A certificate of our own, which the controller asks for from now on."""
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    chain = tmp_path / "bridge.pem"
    authority.issue_cert("bridge").private_key_and_cert_chain_pem.write_to_path(chain)
    return chain


@pytest.mark.parametrize("trust", ["verify", "fingerprint_sha256"])
async def test_a_client_certificate_is_shown(
    url: str, pin: str, trust: str, bridge_certificate: Path
) -> None:
    """A controller that asks for a client certificate gets it, also where its own is pinned."""
    tls = {trust: pin if trust == "fingerprint_sha256" else False}
    async with client(url, tls={**tls, "cert_file": bridge_certificate}) as controller:
        assert await controller.list_jobs() == []
    async with client(url, tls=tls) as controller:
        with pytest.raises(ControllerUnreachable):
            await controller.list_jobs()


async def test_a_client_certificate_does_not_weaken_the_pin(url: str, bridge_certificate: Path) -> None:
    """With a client certificate of our own, a wrong fingerprint is refused as without."""
    tls = {"fingerprint_sha256": "ab" * 32, "cert_file": bridge_certificate}
    async with client(url, tls=tls) as controller:
        with pytest.raises(ControllerUnreachable, match=r"not the one in controllers\.emea\.tls"):
            await controller.list_jobs()


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
async def test_an_unreadable_file_is_a_config_error(key: str, tmp_path: Path) -> None:
    """A certificate file that holds none is refused at start, named by key and path."""
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ConfigError, match=rf"controllers\.emea\.tls\.{key}: .*bad\.pem"):
        client("https://127.0.0.1", tls={key: bad})


# --- proxies ------------------------------------------------------------------------------------------

PROXY_PASSWORD = "proxy-secret"


async def test_plain_http_goes_through_the_proxy() -> None:
    """With a proxy the whole address is asked of it, and its user is named to it."""
    heads: list[bytes] = []

    async def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n[]")

    async with raw_server(talk) as address:
        proxy = f"http://bridge:{PROXY_PASSWORD}@{address}"
        async with client("http://cmc.example.net", proxy=proxy) as controller:
            assert await controller.list_jobs() == []
    assert heads[-1].startswith(b"GET http://cmc.example.net" + JOBS.encode())
    assert b"Proxy-Authorization: Basic YnJpZGdlOnByb3h5LXNlY3JldA==" in heads[-1]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n", "the proxy refuses with HTTP 407"),
        (b"", "the connection was lost"),
    ],
)
async def test_a_refusal_by_the_proxy_is_named_as_such(answer: bytes, reason: str) -> None:
    """A tunnel is asked for with the proxy's credentials alone; its refusal says so and leaks nothing."""
    heads: list[bytes] = []

    async def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        await says(answer)(head, writer)

    auth = {"method": "token", "token": "controller-token"}
    async with raw_server(talk) as address:
        proxy = f"http://bridge:{PROXY_PASSWORD}@{address}"
        async with client("https://cmc.example.net", proxy=proxy, auth=auth) as controller:
            with pytest.raises(ControllerUnreachable, match=reason) as caught:
                await controller.list_jobs()
    assert heads[0].startswith(b"CONNECT cmc.example.net:443")
    assert b"Proxy-Authorization: Basic YnJpZGdlOnByb3h5LXNlY3JldA==" in heads[0]
    assert b"controller-token" not in heads[0]
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(controller))
    told += repr(caught.value.__cause__)
    assert PROXY_PASSWORD not in told
    assert "YnJpZGdlOnByb3h5LXNlY3JldA==" not in told
    assert "controller-token" not in told


async def test_a_proxy_that_is_not_there() -> None:
    """A dead proxy is named as the culprit, not the controller."""
    async with raw_server(says(b"")) as address:
        pass
    proxy = f"http://bridge:{PROXY_PASSWORD}@{address}"
    async with client("http://cmc.example.net", proxy=proxy) as controller:
        with pytest.raises(ControllerUnreachable, match="the proxy can't be reached") as caught:
            await controller.list_jobs()
    assert PROXY_PASSWORD not in "".join(traceback.format_exception(caught.value)) + repr(
        caught.value.__cause__
    )


# --- the controller's clock ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "date", [b"", b"soon", b"Mon, 01 Jan 2026 00:00:00 +99999999999999", b"Mon, 99 Jan 2026 25:00:00 GMT"]
)
async def test_a_date_that_is_none_leaves_the_clock_unknown(date: bytes) -> None:
    """The controller's clock is learnt from its Date; one that can't be read hurts nothing."""
    head = HEAD + b"Date: " + date + b"\r\nContent-Length: 2\r\n\r\n[]"
    async with raw_server(says(head)) as address, client(f"http://{address}") as controller:
        assert await controller.list_jobs() == []
        assert controller.clock_offset is None


async def test_the_clock_is_learnt_from_the_last_answer() -> None:
    """A controller that is an hour ahead of us is known to be."""
    ahead = formatdate(time.time() + 3600, usegmt=True).encode()
    head = HEAD + b"Date: " + ahead + b"\r\nContent-Length: 2\r\n\r\n[]"
    async with raw_server(says(head)) as address, client(f"http://{address}") as controller:
        assert await controller.list_jobs() == []
        assert controller.clock_offset == pytest.approx(3600, abs=10)
