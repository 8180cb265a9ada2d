"""An export's answers where keras is not: alone in a process of its own, directly and over gRPC.

    python -m serving.apart FOLDER GIVEN.npz FOUND.npz

What `radkit export` asks before it keeps an export, as TensorFlow Serving would load it. GIVEN holds arrays named
`NUMBER/SIGNATURE/INPUT`; FOUND gets `direct/NUMBER/SIGNATURE/OUTPUT` and `served/NUMBER/SIGNATURE/OUTPUT`.

Exit status: 0 done; 2 refused: why is on the last line of standard error.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from radkit.errors import UserError
from serving import client, models, server

NAME, TIMEOUT_S = "exported", 600.0
_MAX_MESSAGE_BYTES = (2 << 30) - 1

Arrays = dict[str, np.ndarray]


def grouped(arrays: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """Returns arrays named `GROUP/NAME` by group, then by name.

    >>> sorted(grouped({"0/examples/examples": np.zeros(1)})["0/examples"])
    ['examples']
    """
    found: dict[str, Arrays] = defaultdict(dict)
    for path, array in arrays.items():
        group, _, name = path.rpartition("/")
        found[group][name] = array
    return dict(found)


def answered(folder: Path, given: Mapping[str, np.ndarray]) -> Arrays:
    """Returns an export's answers, directly and through a server on a free port of this machine.

    Raises:
        UserError: It cannot be loaded or called; the message says why.
    """
    found: Arrays = {}
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "1").symlink_to(folder.resolve())  # as a server wants it: a folder of versions
        model = models.load(Path(base))
        started, port = server.start({NAME: model}, "127.0.0.1", 0, workers=1, max_message_bytes=_MAX_MESSAGE_BYTES)
        try:
            with client.Client(f"127.0.0.1:{port}", timeout_s=TIMEOUT_S) as asked:
                for group, inputs in grouped(given).items():
                    signature = group.partition("/")[2]
                    direct = model.answer(signature, inputs)
                    served = asked.predict(NAME, inputs, signature=signature)
                    found |= {f"direct/{group}/{name}": value for name, value in direct.items()}
                    found |= {f"served/{group}/{name}": value for name, value in served.items()}
        except (models.BadRequest, models.ModelFailed, models.UnknownSignature) as error:
            raise UserError(f"without keras the export fails: {error}") from error
        finally:
            started.stop(None).wait()
    return found


def main(argv: Sequence[str]) -> int:
    """Answers what a file holds into another."""
    folder, given, output = argv[1:]
    with np.load(given, allow_pickle=True) as read:  # the parent's own file; texts are objects
        arrays = dict(read)
    try:
        np.savez(output, **answered(Path(folder), arrays))  # type: ignore[arg-type]  # numpy's own keyword is no array
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    # What imports keras from here on fails, as where it is not installed; TensorFlow has not been loaded yet.
    sys.modules["keras"] = None  # type: ignore[assignment]
    sys.exit(main(sys.argv))
