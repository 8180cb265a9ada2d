"""What tells a supervisor that the same command may go on, and what does not."""

import pytest
import tensorflow as tf

from radkit.errors import Unfinished, UserError
from trainers import lost


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Socket closed\nand two pages more"),
        tf.errors.InternalError(None, None, "Socket closed"),
        Unfinished("Socket closed"),
    ],
)
def test_a_lost_device_or_host_has_a_status_of_its_own(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, lost.told():
        raise error
    assert left.value.code == lost.STATUS == 75
    (line,) = capsys.readouterr().err.splitlines()
    assert f"({type(error).__name__}: Socket closed); the same command goes on" in line


def test_too_little_memory_is_told_with_what_to_lower() -> None:
    said = "Graph execution error:\n\nOOM when allocating tensor\nand pages"
    told = r"too little memory .*\(OOM when allocating tensor\); raise trainer\.accumulate"
    with pytest.raises(UserError, match=told), lost.told():
        raise tf.errors.ResourceExhaustedError(None, None, said)


@pytest.mark.parametrize(
    "error",
    [
        UserError("refused"),
        tf.errors.InvalidArgumentError(None, None, "shapes"),
        tf.errors.ResourceExhaustedError(None, None, "state/3/data.bin; No space left on device"),
    ],
)
def test_what_would_fail_again_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)), lost.told():
        raise error
