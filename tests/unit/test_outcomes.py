"""Answers and errors of the other side as outcomes."""

import asyncio
import errno
import socket
import ssl

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Sent, Unclear
from cmc_notify.net import safe, translate, url_secrets
from cmc_notify.net.masking import LONGEST_REASON
from cmc_notify.sinks.outcomes import LONGEST_WAIT, from_exception, from_status, wait_from_header

HOOK = "https://hooks.example.net:8443/services/T00000000/B00000000/s3cr3tpath?token=s3cr3tquery&a=1"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success(status: int) -> None:
    """Every 2xx is success."""
    assert isinstance(from_status(status), Sent)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_passes_is_retried(status: int) -> None:
    """Time-outs, rate limits and faults of the server are retried, after the time it asks for."""
    assert from_status(status, "17", "slow down") == RetryLater(f"HTTP {status}: slow down", 17.0)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 405, 407, 410])
def test_what_an_operator_must_mend_blocks(status: int) -> None:
    """A wrong address, wrong credentials and 410 hold the queue; they say nothing about the message."""
    assert isinstance(from_status(status, "5"), Blocked)


@pytest.mark.parametrize("status", [400, 406, 409, 411, 413, 415, 422, 451])
def test_other_4xx_reject_the_message(status: int) -> None:
    """Any other 4xx speaks of this one message."""
    assert isinstance(from_status(status), Rejected)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("9999999999", LONGEST_WAIT),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 16:00:00 GMT", 100.0),
        ("Mon, 23 Nov 2026 16:00:00 -0000", 100.0),
        ("Mon, 23 Nov 2026 15:00:00 GMT", 0.0),
        ("Mon, 99 Nov 2026 15:00:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds and HTTP dates are understood, nonsense is no wish, and no wish exceeds a day."""
    assert wait_from_header(header, now=1795449500.0) == seconds


@given(st.text())
def test_any_retry_after_is_harmless(header: str) -> None:
    """Whatever a header holds, the wait is none or within a day."""
    wait = wait_from_header(header)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


def test_written_or_not_decides() -> None:
    """A lost connection before the request was written is retried, after it nobody knows."""
    for error in (ConnectionResetError(), TimeoutError(), aiohttp.ServerDisconnectedError()):
        assert isinstance(from_exception(error, request_written=False), RetryLater)
        assert isinstance(from_exception(error, request_written=True), Unclear)


def test_a_wrong_certificate_blocks() -> None:
    """No retry makes a certificate right, also where the library wraps the error."""
    inner = ssl.SSLCertVerificationError("self-signed certificate")
    outer = OSError("can't connect")
    outer.__cause__ = inner
    pin = aiohttp.ServerFingerprintMismatch(b"a" * 32, b"b" * 32, "127.0.0.1", 443)
    for error in (inner, outer, pin):
        assert isinstance(from_exception(error, request_written=False), Blocked)


def test_an_address_that_can_be_none_blocks() -> None:
    """A host name that no DNS can hold needs an operator, not a retry."""
    for error in (aiohttp.InvalidURL("http://"), UnicodeError("label too long")):
        assert isinstance(from_exception(error, request_written=False), Blocked)


def test_a_proxys_refusal_blocks_only_for_credentials() -> None:
    """A proxy that wants other credentials needs an operator; one that can't connect needs time."""
    info = aiohttp.RequestInfo(URL(HOOK), "CONNECT", CIMultiDictProxy(CIMultiDict()), URL(HOOK))
    for status, kind in ((407, Blocked), (502, RetryLater), (400, RetryLater)):
        error = aiohttp.ClientHttpProxyError(info, (), status=status, message="no")
        assert isinstance(from_exception(error, request_written=False), kind)


async def test_reasons_are_words_for_people(unused_tcp_port: int) -> None:
    """No Python objects and no numbers of the system, whether the other side refuses or speaks no TLS."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get(f"https://127.0.0.1:{unused_tcp_port}/")
    for address in ("127.0.0.1", "localhost"):
        with pytest.raises(OSError, match=r"Errno|Multiple") as plain:
            await asyncio.open_connection(address, unused_tcp_port)
        assert str(translate(plain.value, written=False)) == "connection refused"
    assert (
        str(translate(refused.value, written=False))
        == f"no connection to 127.0.0.1:{unused_tcp_port}: connection refused"
    )
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert str(translate(unknown, written=False)) == "the name is not known"
    wrapped = OSError("Error connecting to host on port 25: [Errno 113]")
    wrapped.__cause__ = OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.1', 25)")
    assert str(translate(wrapped, written=False)) == "no connection: no route to host"
    broken = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    broken.reason = "WRONG_VERSION_NUMBER"
    assert str(translate(broken, written=False)) == "TLS failed: the server does not use TLS on this port"


@given(before=st.text(max_size=50), after=st.text(max_size=400))
def test_safe_text_is_short_harmless_and_without_secrets(before: str, after: str) -> None:
    """Whatever surrounds them, secrets and the parts of an address that may be secrets are gone."""
    text = safe(f"{before} {HOOK} s3cr3ttoken {after}", {"s3cr3ttoken"} | url_secrets(HOOK))
    assert "s3cr3t" not in text
    assert len(text) <= LONGEST_REASON
    assert text.isprintable()


@pytest.mark.parametrize(
    "echo",
    [
        "can't POST /services/T00000000/B00000000/s3cr3tpath",
        "no such hook: s3cr3tpath",
        "bad token s3cr3tquery",
        "https://user:s3cr3tpass@hooks.example.net/x",
        "http://hooks.example.net?token=s3cr3tother",
        "Authorization: Basic czNjcjN0Z2l2ZW4=",
        "token s3cr3t%2Fgiven%3D",
    ],
)
def test_echoes_of_secrets_are_removed(echo: str) -> None:
    """The address and the credentials are removed in every spelling if a receiver echoes them."""
    text = safe(echo, {"s3cr3tgiven", "s3cr3t/given="} | url_secrets(HOOK))
    assert "s3cr3t" not in text
    assert "czNjcjN0Z2l2ZW4" not in text


def test_safe_text_keeps_what_helps() -> None:
    """The host of an address and the words of an error stay."""
    text = safe("Cannot connect to host https://hooks.example.net:8443/x refused")
    assert text == "Cannot connect to host https://hooks.example.net:8443/… refused"


@pytest.mark.timeout(10)
def test_a_long_answer_holds_nothing_up() -> None:
    """A megabyte without a blank is shortened at once, not in the square of its length."""
    assert len(safe("a" * 1_000_000)) == LONGEST_REASON
