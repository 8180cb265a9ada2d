"""The secret from which pseudonyms and new UIDs come: same key and same value, same result, on any machine.

Whoever holds the key file can tell whether a guessed PatientID is in the data; nobody else can. Lose it and later
data of the same patients cannot be joined to these.
"""

import base64
import hmac
import logging
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID_dictionary

from radkit.errors import UserError

SIZE_BYTES = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """A secret; it is never shown, and refuses to be pickled: hand workers the file's path.

    >>> Key(bytes(32))
    Key()
    """

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != SIZE_BYTES:
            raise UserError(f"a key holds {SIZE_BYTES} bytes, not {len(self._secret)}")

    def __getstate__(self) -> None:
        raise TypeError("a key is not pickled, so that it is in no job's graph; pass its file's path")

    def uid(self, old: str) -> str:
        """Returns the new UID of an instance, series, study or frame of reference.

        UIDs that the standard itself registers (PS3.6 Annex A) name no patient and stay. The others become a
        UUID-derived UID (PS3.5 B.2) from HMAC-SHA256 with the key: at most 44 characters.

        >>> Key(bytes(32)).uid("1.2.840.10008.1.2.1")
        '1.2.840.10008.1.2.1'
        """
        old = old.strip(" \0")
        if not old or old in UID_dictionary:
            return old
        number = int.from_bytes(self._hmac(b"uid", old.encode())[:16], "big")
        # RFC 9562 version 8 (custom) and variant, so that the number is a UUID as B.2 asks.
        number = number & ~(0xF << 76) | 0x8 << 76
        number = number & ~(0x3 << 62) | 0x2 << 62
        return f"2.25.{number}"

    def patient(self, old: str) -> str:
        """Returns a patient's pseudonym: P and 16 letters or digits, valid as LO, PN and a folder's name.

        Spaces around the value do not count, as PS3.5 6.2 says of LO.
        """
        return "P" + base64.b32encode(self._hmac(b"patient", old.strip(" \0").encode())[:10]).decode()

    def days(self, patient: str) -> int:
        """Returns by how many whole days a patient's dates move: 366 to 3652 days back, the same in every file.

        At least a year, so that a date never stays near where it was; at most ten, so that it stays plausible.

        Args:
            patient: The PatientID, as in `patient`.
        """
        number = int.from_bytes(self._hmac(b"days", patient.strip(" \0").encode())[:8], "big")
        return -(366 + number % 3287)

    def secret(self, purpose: str) -> bytes:
        """Returns 32 secret bytes of their own for a purpose, such as a vault's encryption."""
        return self._hmac(b"secret", purpose.encode())

    def digest(self, value: bytes | str) -> str:
        """Returns 32 hex digits that stand for a value in lists and provenance; useless without the key."""
        return self._hmac(b"digest", value.encode() if isinstance(value, str) else value)[:16].hex()

    def _hmac(self, purpose: bytes, value: bytes) -> bytes:
        # The purpose is part of the message: a pseudonym never gives away the start of a UID.
        return hmac.digest(self._secret, purpose + b"\0" + value, "sha256")


def new() -> Key:
    """Returns a new random key."""
    return Key(secrets.token_bytes(SIZE_BYTES))


def write(key: Key, path: Path) -> None:
    """Writes a key's file, readable by its owner only.

    Raises:
        UserError: Something is there already, or the folder is not.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UserError(f"key file {path} exists and is not overwritten; leave --create_key out to use it") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"key file {path} cannot be made: its folder does not exist") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key._secret)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Key:
    """Returns the key of a file, and warns when others may read it.

    Only a warning: in containers, modes are often not the owner's to choose.

    Raises:
        UserError: No such file, or not one that `write` made.
    """
    key, path = load(path), Path(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("key file %s may be read by others; chmod 600 it", path)
    return key


def load(path: Path) -> Key:
    """Returns the key of a file without a warning: for workers, whose program has warned already.

    Raises:
        UserError: As `read`.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError
        size = path.stat().st_size
        if not path.is_file() or size != SIZE_BYTES:  # devices and pipes need not end
            raise UserError(f"key file {path} holds {size} bytes where {SIZE_BYTES} were expected; is it a key?")
        secret = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"key file {path} does not exist; --create_key makes one") from error
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"key file {path} cannot be read; name a file of yours") from error
    return Key(secret)
