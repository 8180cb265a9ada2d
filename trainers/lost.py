"""What a run says with its exit status when it lost a device or another host: the same command may go on."""

import contextlib
import sys
from collections.abc import Iterator

import tensorflow as tf

from radkit.errors import Unfinished

STATUS = 75  # EX_TEMPFAIL of sysexits.h: neither done (0) nor refused (2)
_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
    Unfinished,
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Ends the process with `STATUS` where the block loses a device or a peer; a supervisor then starts it again.

    Raises:
        SystemExit: With that status, after one line on stderr.
    """
    try:
        yield
    except _ERRORS as error:
        first = str(error).strip().partition("\n")[0]
        print(
            f"radkit: training stopped, a device or another host failed ({type(error).__name__}: {first}); the same "
            "command goes on from the last checkpoint",
            file=sys.stderr,
        )
        raise SystemExit(STATUS) from error
