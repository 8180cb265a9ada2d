"""What reading and writing DICOM files share: whose they are, what malformed ones raise, and pydicom's silence."""

import contextlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator

import pydicom

IMPLEMENTATION_CLASS_UID = "2.25.242107536390275246943361366713498263221"  # radkit's, made once at random
IMPLEMENTATION_VERSION_NAME = "RADKIT"

# What pydicom raises on bytes that are not what they claim to be. Not OSError: a full disk is no file's fault.
MALFORMED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError, RecursionError,
    TypeError, ValueError, struct.error, zlib.error, pydicom.errors.BytesLengthException,
)  # fmt: skip


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps pydicom from telling values and file names to the log, and Python from warning of them."""
    log = logging.getLogger("pydicom")

    def nothing(_: logging.LogRecord) -> bool:
        return False  # one function a call, so that threads do not end each other's silence

    log.addFilter(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeFilter(nothing)
