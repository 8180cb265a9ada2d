"""The one error that is a person's to mend: shown as a line, never as a traceback."""

import difflib
import errno
import os
from collections.abc import Iterable


class UserError(ValueError):
    """What was found, what was expected and what to do, in one sentence.

    Programs print the message and leave with status 2. Never put a value into the message that may
    identify a patient: tags, counts and identifiers after mapping only.
    """


class Unfinished(UserError):
    """Work that stopped for want of memory, time or workers; the same command again goes on where it stopped."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the nearest known word, or nothing.

    >>> did_you_mean("modle", ["model", "data"])
    " (did you mean 'model'?)"
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


_DISK_ERRORS = {
    errno.ENOSPC: "no space is left on the disk; free some or name another --output",
    errno.EDQUOT: "the disk quota is used up; free some space or name another --output",
    errno.EROFS: "the disk is read-only; name another --output",
    errno.EACCES: "permission was refused; check who owns the folder",
    errno.ENAMETOOLONG: "a file's name is too long; name a shorter folder",
    errno.EPERM: "the operation is not permitted; check who owns the folder",
}
# Beam and TensorFlow wrap these in errors of their own, with the system's words inside.
_TOLD_IN_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def disk_error(error: BaseException) -> str:
    """Returns what to say of a full or closed disk, or nothing when the error is another.

    >>> disk_error(OSError(errno.ENOSPC, "No space left on device"))
    'no space is left on the disk; free some or name another --output'
    """
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return _DISK_ERRORS[error.errno]
    words = str(error)
    return next((_DISK_ERRORS[number] for number in _TOLD_IN_WORDS if os.strerror(number) in words), "")
