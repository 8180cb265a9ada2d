"""The way back, encrypted: which original identifier a new one stands for, for the mode `pseudonymize`.

Workers write parts, the driver merges them into the vault; all are the same kind of file, a list of entries sorted by
the new identifier and cut into chunks. So merging is a merge of sorted streams, whatever their number in a few MB of
memory, and an answer decrypts one table of contents and one chunk. Nothing is ever on the disk in plain.

A file: a header (magic, salt, proof of the key, count of questions), the chunks, a table of contents, its length.
Chunks and table are AES-256-GCM under a key that HMAC-SHA256 makes from the person's key and the file's salt; as each
file has a key of its own, a chunk's number is its nonce, and no chunk can stand in another's place or in another file.
What a vault tells without the key: about how many entries it holds.

Source: NIST SP 800-38D section 8.2.1 (deterministic nonces).
"""

import bisect
import contextlib
import hmac
import itertools
import json
import os
import secrets
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from heapq import merge as merge_sorted
from pathlib import Path
from typing import IO, Any

from radkit import outputs
from radkit.deid import keys
from radkit.errors import UserError

_KINDS = ("patient", "study", "series", "instance")
_MAGIC = b"radkit vault v1\n"
_SALT_BYTES, _PROOF_BYTES = 32, 16
_QUESTIONS = struct.Struct(">Q32s16s")  # how many, the log's last seal, proof of both
_QUESTIONS_AT = len(_MAGIC) + _SALT_BYTES + _PROOF_BYTES
_HEADER_BYTES = _QUESTIONS_AT + _QUESTIONS.size
_LENGTH = struct.Struct(">Q")
_CONTENTS_NUMBER = (1 << 96) - 1  # the table's nonce; no chunk gets there
_CHUNK_ENTRIES = 512
_FAN_IN = 128  # files open at a time when merging; the usual limit of a process is 1024
NO_SEAL = bytes(32)

Row = tuple[str, str, str, str, str]  # an entry as it is sorted: new, kind, old, name, birth date


@dataclass(frozen=True)
class Entry:
    """One identifier's way back.

    Args:
        kind: patient, study, series or instance.
        new: The identifier as it stands in the output.
        old: The PatientID or UID that it stands for.
        name: PatientName, of a patient.
        birth_date: PatientBirthDate, of a patient.
    """

    kind: str
    new: str
    old: str
    name: str = ""
    birth_date: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not self.new:
            raise ValueError(f"an entry is of a {', '.join(_KINDS)} and has a new identifier")


def write_part(path: Path, entries: Iterable[Entry], key: keys.Key) -> None:
    """Writes a worker's entries as an encrypted file, 0600, complete or not at all; an earlier one is replaced.

    Args:
        path: A name of this worker's own; its folder is there.
        entries: In any order, repeated or not; they are held in memory.
        key: The person's key.
    """
    aside = path.with_name(f"{path.name}.incomplete.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        _write(aside, sorted({_row(entry) for entry in entries}), key)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def ready(vault_path: Path, key: keys.Key) -> None:
    """Refuses a vault that `merge` would refuse: to be asked before hours of work.

    Raises:
        UserError: `cryptography` is missing; no folder to write into; what is there is no vault, or of another key.
    """
    _aes_gcm()
    if not vault_path.parent.is_dir():
        raise UserError(f"vault {vault_path} cannot be made: its folder does not exist")
    if os.path.lexists(vault_path):
        with _opened(vault_path, key):
            pass


def merge(parts: Sequence[Path], vault_path: Path, key: keys.Key) -> int:
    """Writes all parts' entries into the vault, sorted and each once, and returns how many it then holds.

    A vault that is there already is extended. The file is written aside and renamed, so that it is the earlier or the
    new one, never half; merging the same parts again changes nothing. The parts stay where they are.

    Raises:
        UserError: As `ready`; or a part or the vault is damaged, or another process extended the vault meanwhile.
    """
    ready(vault_path, key)
    vault_path = vault_path.resolve()  # of a link, what it points to
    before = _identity(vault_path)
    outputs.sweep(vault_path)
    aside = vault_path.with_name(f"{vault_path.name}.incomplete.{os.getpid()}")
    aside.mkdir(mode=0o700)
    try:
        merged, count = _merge([*parts, *([vault_path] if before else [])], aside, key)
        if _identity(vault_path) != before:
            raise UserError(f"vault {vault_path} was written by another process meanwhile; run again to add to it")
        if before:
            set_questions(merged, key, *questions(vault_path, key))
        merged.replace(vault_path)
        sync_folder(vault_path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def find(vault_path: Path, key: keys.Key, identifier: str) -> list[Entry]:
    """Returns what a new identifier stands for; a patient whose name was written in two ways has two entries.

    Only the table of contents and the chunks that may hold the answer are decrypted.

    Raises:
        UserError: The vault is missing, damaged, no vault, or of another key; `cryptography` is missing.
    """
    with _opened(vault_path, key) as file:
        # An identifier's entries may begin at the end of the chunk before the first that starts with it.
        first = max(bisect.bisect_left(file.starts, identifier) - 1, 0)
        last = bisect.bisect_right(file.starts, identifier)
        rows = itertools.chain.from_iterable(file.chunk(number) for number in range(first, last))
        return [Entry(kind, new, *rest) for new, kind, *rest in rows if new == identifier]


def questions(vault_path: Path, key: keys.Key) -> tuple[int, bytes]:
    """Returns how many questions the vault was asked, and the seal of the log's last line (see `reidentify`).

    Raises:
        UserError: As `find`.
    """
    with _opened(vault_path, key) as file:
        return file.questions


def set_questions(vault_path: Path, key: keys.Key, count: int, seal: bytes) -> None:
    """Notes in the vault how many questions it was asked, and the seal of the log's last line, 32 bytes.

    In place: the few bytes lie in the disk's first block, which is written whole or not.

    Raises:
        UserError: As `find`.
    """
    # One opened file for both: a merge may put another in its place, whose salt is another.
    with _opened(vault_path, key, "r+b") as vault:
        vault.file.seek(_QUESTIONS_AT)
        vault.file.write(_QUESTIONS.pack(count, seal, _questions_proof(vault.secret, count, seal)))
        vault.file.flush()
        os.fsync(vault.file.fileno())


@dataclass(frozen=True)
class _File:
    """An opened part or vault: its header and table of contents have been verified."""

    path: Path
    file: IO[bytes]
    secret: bytes
    questions: tuple[int, bytes]
    starts: list[str]  # each chunk's first new identifier
    offsets: list[int]  # where each chunk begins, and where the last ends

    def chunk(self, number: int) -> list[Row]:
        start, end = self.offsets[number : number + 2]
        self.file.seek(start)
        return [tuple(row) for row in _decrypted(self.path, self.secret, number, self.file.read(end - start))]

    def rows(self) -> Iterator[Row]:
        for number in range(len(self.starts)):
            yield from self.chunk(number)


@contextlib.contextmanager
def _opened(path: Path, key: keys.Key, mode: str = "rb") -> Iterator[_File]:
    _aes_gcm()
    if not path.exists():
        raise UserError(f"vault {path} does not exist; name one that --mode=pseudonymize wrote")
    if not path.is_file():
        raise UserError(f"vault {path} is a folder or a device; name the file")
    try:
        file = open(path, mode)  # noqa: SIM115 - closed below; only its opening is in the try
    except PermissionError as error:
        raise UserError(f"vault {path} may not be opened; check who owns it") from error
    with file:
        yield _verified(path, file, key)


def _verified(path: Path, file: IO[bytes], key: keys.Key) -> _File:
    header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC):
        raise UserError(f"{path} is not a vault of radkit; nothing was changed")
    salt = header[len(_MAGIC) : len(_MAGIC) + _SALT_BYTES]
    secret = _file_secret(key, salt)
    if not hmac.compare_digest(header[len(_MAGIC) + _SALT_BYTES : _QUESTIONS_AT], _proof(secret)):
        raise UserError(f"vault {path} is of another key than this one (or its first bytes are damaged)")
    size = os.fstat(file.fileno()).st_size
    if size < _HEADER_BYTES + _LENGTH.size:
        raise _damaged(path)
    count, seal, proof = _QUESTIONS.unpack(header[_QUESTIONS_AT:])
    if not hmac.compare_digest(proof, _questions_proof(secret, count, seal)):
        raise _damaged(path)
    file.seek(size - _LENGTH.size)
    start = size - _LENGTH.size - _LENGTH.unpack(file.read(_LENGTH.size))[0]
    if start < _HEADER_BYTES:
        raise _damaged(path)
    file.seek(start)
    starts, offsets = _decrypted(path, secret, _CONTENTS_NUMBER, file.read(size - _LENGTH.size - start))
    if offsets[-1] != start:  # something was put between the chunks and the table
        raise _damaged(path)
    return _File(path, file, secret, (count, seal), starts, offsets)


def _merge(sources: Sequence[Path], folder: Path, key: keys.Key) -> tuple[Path, int]:
    names = itertools.count()
    while True:
        groups = [sources[i : i + _FAN_IN] for i in range(0, len(sources), _FAN_IN)] or [[]]
        counts, merged = 0, []
        for group in groups:
            merged.append(folder / str(next(names)))
            counts += _merge_group(group, merged[-1], key)
            for path in group:
                if path.parent == folder:
                    path.unlink()
        if len(merged) == 1:
            return merged[0], counts
        sources = merged


def _merge_group(sources: Sequence[Path], target: Path, key: keys.Key) -> int:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_opened(path, key)) for path in sources]
        rows = merge_sorted(*(file.rows() for file in opened))
        return _write(target, (row for row, _ in itertools.groupby(rows)), key)


def _write(path: Path, rows: Iterable[Row], key: keys.Key) -> int:
    """Writes sorted rows as a file that must not be there yet; returns how many."""
    salt = secrets.token_bytes(_SALT_BYTES)
    secret = _file_secret(key, salt)
    starts: list[str] = []
    offsets = [_HEADER_BYTES]
    count = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        asked = _QUESTIONS.pack(0, NO_SEAL, _questions_proof(secret, 0, NO_SEAL))
        file.write(_MAGIC + salt + _proof(secret) + asked)
        remaining = iter(rows)
        while chunk := list(itertools.islice(remaining, _CHUNK_ENTRIES)):
            offsets.append(offsets[-1] + file.write(_encrypted(secret, len(starts), chunk)))
            starts.append(chunk[0][0])
            count += len(chunk)
        file.write(_LENGTH.pack(file.write(_encrypted(secret, _CONTENTS_NUMBER, [starts, offsets]))))
        file.flush()
        os.fsync(file.fileno())
    return count


def _row(entry: Entry) -> Row:
    kind, new, *rest = astuple(entry)
    return (new, kind, *rest)


def _encrypted(secret: bytes, number: int, value: Any) -> bytes:
    # ASCII: old values may hold what is no Unicode text, and come back as they were.
    plain = json.dumps(value, separators=(",", ":")).encode("ascii")
    sealed: bytes = _aes_gcm()(_derived(secret, b"encrypt")).encrypt(number.to_bytes(12, "big"), plain, None)
    return sealed


def _decrypted(path: Path, secret: bytes, number: int, sealed: bytes) -> Any:
    from cryptography.exceptions import InvalidTag

    try:
        plain = _aes_gcm()(_derived(secret, b"encrypt")).decrypt(number.to_bytes(12, "big"), sealed, None)
    except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
        raise _damaged(path) from error
    return json.loads(plain)


def _aes_gcm() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise UserError("a vault needs cryptography, which is not installed; pip install 'radkit[deid]'") from error
    return AESGCM


def _file_secret(key: keys.Key, salt: bytes) -> bytes:
    return _derived(key.secret("vault"), b"file" + salt)


def _proof(secret: bytes) -> bytes:
    return _derived(secret, b"proof")[:_PROOF_BYTES]


def _questions_proof(secret: bytes, count: int, seal: bytes) -> bytes:
    return _derived(secret, b"questions" + _LENGTH.pack(count) + seal)[:_PROOF_BYTES]


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, "sha256")


def _damaged(path: Path) -> UserError:
    return UserError(f"vault {path} is damaged or was changed; take it from a backup")


def _identity(path: Path) -> tuple[int, int] | None:
    # Neither size nor time: a question that is asked meanwhile writes into the file (`set_questions`).
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def sync_folder(folder: Path) -> None:
    """Flushes a folder's list of names to the disk, so that a new file is found after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
