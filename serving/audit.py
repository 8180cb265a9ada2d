"""Who was answered by which version: one JSON line a request, without pixels, identities or words of the request.

Each line has `time` (UTC), `request_id`, `entry` (gRPC or REST), `method`, `model`, `version`, `model_sha256` (of its
graph), `status`, `ms`, and of request and answer the bytes and the SHA-256. Who keeps a request's bytes can prove that
it is the one; nothing of it can be read from the line. Names that clients choose are not written: a model that is not
served is null, and a request's own id is kept only where it is a UUID.
"""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from radkit.errors import UserError

REQUEST_ID = "x-request-id"
Part = bytes | memoryview


@dataclass
class Told:
    """What becomes known of a request while it is answered.

    Attributes:
        method: Of PredictionService or ModelService.
        entry: `GRPC` or `REST`.
        request_id: A UUID.
        timeout_s: What was left of its deadline when it came, None without one.
        is_wanted: Tells whether its client still waits for the answer.
        model: The name, once it is known that it is served.
        version: Which answered.
        model_sha256: Its graph's digest.
    """

    method: str
    entry: str
    request_id: str = ""
    timeout_s: float | None = None
    is_wanted: Callable[[], bool] = lambda: True
    model: str = ""
    version: int | None = None
    model_sha256: str | None = None


def request_id(given: str) -> str:
    """Returns a client's own id where it is a UUID, a new one otherwise."""
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return str(uuid.uuid4())


class Log:
    """A file that lines are put behind; its owner alone may read it.

    Args:
        path: The file; it is made where it is missing.

    Raises:
        UserError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise UserError(f"--audit_log {path} cannot be written: {error.strerror}") from error
        self._lock = threading.Lock()

    def write(self, told: Told, status: str, seconds: float, request: Part, answer: Sequence[Part]) -> None:
        """Adds a request's line.

        Raises:
            OSError: The disk is full or gone; a request that left no trace must not be answered.
        """
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "request_id": told.request_id,
            "entry": told.entry,
            "method": told.method,
            "model": told.model or None,
            "version": told.version,
            "model_sha256": told.model_sha256,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "request_bytes": len(request),
            "request_sha256": _sha256([request]),
            "answer_bytes": sum(map(len, answer)),
            "answer_sha256": _sha256(answer),
        }
        data = (json.dumps(line) + "\n").encode()
        with self._lock:
            if os.write(self._file, data) != len(data):
                raise OSError("the audit log could not be written to its end")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def _sha256(parts: Sequence[Part]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
