"""A server's keys, as Python's own TLS takes them."""

import ssl
import tempfile
from pathlib import Path

from radkit.errors import UserError
from serving import configs_text


def context(tls: configs_text.Tls) -> ssl.SSLContext:
    """Returns what encrypts a server's connections.

    Raises:
        UserError: The key or a certificate cannot be read, or they do not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # its owner's alone; ssl reads keys from files only
        key, certificate = Path(folder) / "key", Path(folder) / "certificate"
        key.write_bytes(tls.key)
        certificate.write_bytes(tls.certificate)
        try:
            made.load_cert_chain(certificate, key)
            if tls.client_ca is not None:
                made.verify_mode = ssl.CERT_REQUIRED
                made.load_verify_locations(cadata=tls.client_ca.decode())
        except (ssl.SSLError, ValueError) as error:
            raise UserError(
                "--ssl_config_file holds a key and certificates that cannot be read, or do not fit together; "
                "give them as PEM text"
            ) from error
    return made
