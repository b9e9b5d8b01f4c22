"""Why a connection failed, in words for people: no numbers, no Python objects, no addresses in tuples."""

import errno
import os
import re
import socket
import ssl

_NUMBER = re.compile(r"\[Errno (-?[0-9]+)\]")
_TLS = {
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS there",
    "UNSUPPORTED_PROTOCOL": "the other side speaks only versions of TLS that are too old",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other side refuses this version of TLS",
}


def no_connection_text(host: str, port: int | None, why: str) -> str:
    """``no connection to 127.0.0.1:8080: connection refused``."""
    named = f"[{host}]" if ":" in host else host
    return f"no connection to {named}{f':{port}' if port else ''}: {why}"


def os_error_text(error: OSError) -> str:
    """What the operating system or TLS says of a failure; what it says of none is told by the kind."""
    match error:
        case socket.gaierror() if error.errno == socket.EAI_AGAIN:
            words = "the name can't be looked up now"
        case socket.gaierror():
            words = "the name is not known"
        case ssl.SSLCertVerificationError():
            # Only OpenSSL itself sets it.
            words = f"its certificate: {getattr(error, 'verify_message', None) or 'not trusted'}"
        case ssl.SSLError():
            reason = error.reason or "no reason given"
            words = f"TLS failed: {_TLS.get(reason) or reason.replace('_', ' ').lower()}"
        case _:
            words = _by_number(error)
    return words


def _by_number(error: OSError) -> str:
    """The system's words: asyncio puts its own, with an address, in their place, and where several addresses
    were tried the numbers stand in those.
    """
    found = _NUMBER.search(str(error)) if error.errno is None else None
    number = int(found[1]) if found else error.errno
    if number is not None and number in errno.errorcode:
        return os.strerror(number).lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    return "the connection broke off" if isinstance(error, ConnectionError) else "the network failed"
