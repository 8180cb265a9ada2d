"""radkit serve: answers over gRPC as TensorFlow Serving does.

    radkit serve --model hippocampus=models/hippocampus --port 8500

In: one or more folders of the layout FOLDER/<version>/saved_model.pb (`radkit export` writes it); the highest version
is served. Out: tensorflow.serving.PredictionService (Predict, GetModelMetadata), tensorflow.serving.ModelService
(GetModelStatus) and grpc.health.v1.Health (Check), so stock clients work unchanged, as do `radkit predict` and
`serving.client`. A line "serving NAME version V on HOST:PORT" is printed for each model when it is ready.

The channel is neither encrypted nor authenticated: keep to --host 127.0.0.1 or a closed network.

Exit status: 0 ended by SIGTERM or SIGINT; 2 refused (no such folder, port in use).
"""

import os
import queue
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

import grpc
from absl import flags

from radkit import program
from radkit.errors import UserError
from serving import models, protocol, service

FLAGS = program.new_flags(data_in=None, out=None)
flags.DEFINE_multi_string("model", [], "NAME=FOLDER of a model; may be given again.", flag_values=FLAGS)
flags.DEFINE_integer(
    "port", 8500, "Port; 0 takes a free one and prints it.", flag_values=FLAGS, lower_bound=0, upper_bound=65535
)
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 is every network.", flag_values=FLAGS)
flags.DEFINE_integer(
    "workers", None, "Calls answered at a time; as many as processors when left out.", flag_values=FLAGS, lower_bound=1
)
flags.DEFINE_integer(
    "max_message_mib", 1024, "Largest request, MiB.", flag_values=FLAGS, lower_bound=1, upper_bound=2047
)

# How long calls under way may take to end after SIGTERM.
GRACE_S = 10.0


def parse_models(given: Sequence[str]) -> dict[str, Path]:
    """Returns name to folder from `NAME=FOLDER` texts.

    >>> parse_models(["a=/models/a"])
    {'a': PosixPath('/models/a')}
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (equals and folder and re.fullmatch(r"[A-Za-z0-9_.-]+", name)):
            raise UserError(f"--model {text!r} is not NAME=FOLDER with a name of letters, digits, '_', '.', '-'")
        if name in found:
            raise UserError(f"--model {name} is given twice; each name is one folder")
        found[name] = Path(folder)
    return found


def start(
    loaded: Mapping[str, models.Model], host: str, port: int, *, workers: int, max_message_bytes: int
) -> tuple[grpc.Server, int]:
    """Starts a server for loaded models and returns it with the port it listens on.

    Raises:
        UserError: The address cannot be had.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(workers, thread_name_prefix="serving"),
        handlers=service.handlers(service.Service(loaded, min(max_message_bytes, protocol.MAX_BYTES))),
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # Without this a second server on the same port starts, and clients reach either of them.
            ("grpc.so_reuseport", 0),
        ],
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(f"{host}:{port} cannot be had: in use, or no address of this machine; name another --port")
    server.start()
    return server, bound


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "model")
    folders = parse_models(values["model"].value)
    for folder in folders.values():
        models.find_version(folder)  # a wrong folder is told before seconds go into TensorFlow
    # A queue may be put to from a signal's handler whatever its thread is at; an event's lock may be held by it.
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: ended.put(number))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    loaded = {name: models.load(folder) for name, folder in folders.items()}
    server, port = start(
        loaded,
        values["host"].value,
        values["port"].value,
        workers=values["workers"].value or os.cpu_count() or 1,
        max_message_bytes=values["max_message_mib"].value << 20,
    )
    for name, model in loaded.items():
        print(f"serving {name} version {model.version} on {values['host'].value}:{port}", flush=True)
    ended.get()
    server.stop(GRACE_S).wait(GRACE_S + 1.0)
    # No answer is under way, and nothing is left to write. Taking TensorFlow's and gRPC's threads down one by one was
    # once seen to hang, and whoever stops a server waits for it.
    sys.stdout.flush()
    os._exit(program.DONE)


def main(argv: Sequence[str]) -> int:
    """Runs the verb."""
    return program.run(sys.modules[__name__], _run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
