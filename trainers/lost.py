"""What a run says with its exit status when it lost a device or another host: the same command may go on."""

import contextlib
import sys
from collections.abc import Iterator

import tensorflow as tf

from radkit.errors import Unfinished, UserError, disk_error

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
        UserError: The block asks for more memory than the device has: the same command would, too.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if disk_error(error):  # which TensorFlow calls so, too
            raise
        raise UserError(
            f"the device has too little memory for this training ({_line_of_memory(error)}); raise "
            "trainer.accumulate, or lower trainer.batch_size, data.image_size or the network's filters"
        ) from error
    except _ERRORS as error:
        print(
            f"radkit: training stopped, a device or another host failed ({type(error).__name__}: "
            f"{_first_line(error)}); the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        raise SystemExit(STATUS) from error


def _line_of_memory(error: BaseException) -> str:
    """Returns the line that names the tensor: of a graph, pages of where it was made come first."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "OOM" in line or "memory" in line.lower()), _first_line(error))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
