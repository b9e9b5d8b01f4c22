"""TLS for what the bridge calls: authorities that it trusts, its own certificate, a pinned one."""

import ssl

from cmc_notify.errors import ConfigError
from cmc_notify.net.words import os_error_text
from cmc_notify.settings.base import TlsSettings


def client_context(tls: TlsSettings, place: str = "tls", *, plain: bool = False) -> ssl.SSLContext:
    """Return the context that the settings ask for. It reads the files, so it blocks for milliseconds.

    With a pinned fingerprint the chain is not checked: the pin is the proof. With ``plain`` nothing is
    called over TLS, and the system's authorities, which take 40 ms to load, are left out. Raises
    ConfigError that names the key below ``place`` whose file can't be used.
    """
    try:
        if plain and not tls.ca_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise ConfigError(
            f"{place}.ca_file: can't read certificates from {tls.ca_file} ({os_error_text(error)});"
            " it must be a readable PEM file"
        ) from error
    if tls.fingerprint is not None or not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal and wait for ever.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            words = os_error_text(error) if isinstance(error, OSError) else "the key is encrypted"
            raise ConfigError(
                f"{place}.cert_file: can't read a certificate and its key from {tls.cert_file} ({words});"
                " both must be readable PEM files, the key without a password"
            ) from error
    return context
