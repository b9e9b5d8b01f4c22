"""The reasons of failed connections in words for people: no numbers, Python objects or address tuples."""

import errno
import os
import re
import socket
import ssl

_NUMBER = re.compile(r"\[Errno (-?[0-9]+)\]")
_TLS = {
    "WRONG_VERSION_NUMBER": "the server does not use TLS on this port",
    "UNSUPPORTED_PROTOCOL": "the server supports only versions of TLS that are too old",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server refuses this version of TLS",
}


def no_connection_text(host: str, port: int | None, reason: str) -> str:
    """Return a text such as ``no connection to 127.0.0.1:8080: connection refused``."""
    named = f"[{host}]" if ":" in host else host
    return f"no connection to {named}{f':{port}' if port else ''}: {reason}"


def os_error_text(error: OSError) -> str:
    """Return the reason that the operating system or TLS gives; without one, a text for the error's type."""
    match error:
        case socket.gaierror() if error.errno == socket.EAI_AGAIN:
            words = "the name can't be looked up now"
        case socket.gaierror():
            words = "the name is not known"
        case ssl.SSLCertVerificationError():
            # Only OpenSSL sets this attribute.
            words = f"its certificate: {getattr(error, 'verify_message', None) or 'not trusted'}"
        case ssl.SSLError():
            reason = error.reason or "no reason given"
            words = f"TLS failed: {_TLS.get(reason) or reason.replace('_', ' ').lower()}"
        case _:
            words = _by_number(error)
    return words


def _by_number(error: OSError) -> str:
    """Return the system's text for an error number.

    asyncio replaces that text by its own, with an address; if it tried several addresses, the numbers are in
    its text.
    """
    found = _NUMBER.search(str(error)) if error.errno is None else None
    number = int(found[1]) if found else error.errno
    if number is not None and number in errno.errorcode:
        return os.strerror(number).lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    return "the connection was lost" if isinstance(error, ConnectionError) else "the network failed"
