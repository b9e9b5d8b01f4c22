"""Words for people for what the operating system, TLS or an HTTP server says.

No numbers without meaning, no Python objects, no addresses in tuples.
"""

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
# OpenSSL's X509_V_ERR_* codes, from x509_vfy.h.
_EXPIRED, _NOT_YET_VALID = 10, 9
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})


def no_connection_text(host: str, port: int | None, why: str) -> str:
    """Return ``no connection to 127.0.0.1:8080: connection refused``."""
    named = f"[{host}]" if ":" in host else host
    return f"no connection to {named}{f':{port}' if port else ''}: {why}"


def certificate_text(error: BaseException, *, place: str = "tls") -> str:
    """Return what is wrong with a server's certificate, and the remedy that fits this fault alone.

    ``place`` is the key path of the TLS settings.
    """
    code = getattr(error, "verify_code", None)
    said = getattr(error, "verify_message", "") or "not trusted"
    match code:
        case int() if code == _EXPIRED:
            return "its certificate has expired; renew it on the server"
        case int() if code == _NOT_YET_VALID:
            return "its certificate is not valid yet; check the clocks of both machines"
        case int() if code in _OTHER_NAME:
            return f"its certificate is for another name ({said}); put a name of the certificate in the url"
        case int() if code in _UNKNOWN_ISSUER:
            return (
                f"its certificate: {said}; set {place}.ca_file to the authority that signed it,"
                f" or {place}.fingerprint_sha256"
            )
        case _:
            return f"its certificate: {said}"


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
