"""A client's connection: where to, whether encrypted, and how long to wait before a call is tried again."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from radkit.errors import UserError

# Waits between the attempts of a call that found no server: a restart takes some seconds.
BACKOFF_S = (0.2, 0.4, 0.8, 1.6)
# And of one whose server is busy: its queue may hold the work of many clients.
BUSY_BACKOFF_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


@dataclass(frozen=True)
class Tls:
    """How an encrypted connection knows the server, and the server its client.

    Attributes:
        ca: PEM file with the certificates of those who vouch for the server; None: those that the system trusts.
        certificate: PEM file with the client's own certificate, where the server asks for one (mutual TLS).
        key: PEM file with the certificate's private key.
        server_name: The name in the server's certificate, where it is not the one in its address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""


def opened(server: str, tls: Tls | None, max_message_bytes: int) -> Any:
    """Returns a channel; nothing is sent yet.

    Raises:
        UserError: The address is none, or a file of `tls` cannot be read or lacks its other half.
    """
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise UserError(f"server {server!r} is not host:port, as 127.0.0.1:8500")
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Images of patients go to the server that was named, never through a proxy of the environment.
        ("grpc.enable_http_proxy", 0),
    ]
    if tls is None:
        return grpc.insecure_channel(server, options=options)
    if (tls.certificate is None) != (tls.key is None):
        raise UserError("a client's certificate and its key go together; give both, or none")
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(_pem(tls.ca), _pem(tls.key), _pem(tls.certificate))
    return grpc.secure_channel(server, credentials, options=options)


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); a PEM file was expected") from error
    if b"-----BEGIN " not in data:
        raise UserError(f"{path} is no PEM file; one that begins with -----BEGIN was expected")
    return data


def waits_of(error: Any) -> tuple[float, ...]:
    """Returns the waits, in s, after which a call that failed so is worth another attempt each; none: it is not."""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return BACKOFF_S
    # What is too large for one of the two stays too large.
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than" not in (error.details() or ""):
        return BUSY_BACKOFF_S
    return ()


def jittered(wait_s: float) -> float:
    """Returns half of a wait to all of it, by chance, so that clients who were refused together come back apart."""
    return wait_s * random.uniform(0.5, 1.0)
