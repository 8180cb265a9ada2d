"""`radkit serve` beside direct calls of the same SavedModel in this process, in turns, in one run.

    python -m benchmarks.serving [--seconds 3] [--rounds 5] [--models classifier unet] [--flags=--workers=2]

The server is a process of its own, as in use; the clients are threads of this one (`serving.client`). Direct calls are
those of `tf.saved_model.load(...).signatures["serving_default"]`, numpy in and out, in as many threads. Each turn
measures one of the two for some seconds; turns alternate, and each figure is the median of the turns' figures.

Bars: classifier of 200 KB, one client: p50 at most 0.8 ms above, p99 at most 1.3x; U-Net of 256 x 256: p50 at most
1.03x; eight clients: requests a second at least 0.9x (U-Net), 0.85x (classifier). `tiny` is three convolutions: with
eight clients it shows what gRPC in Python can carry, no more. With one client the server's processor time a request is
told beside that of direct calls; at 200 KB it may be 0.5 ms more. Before them: a volume of 134 MB built and parsed
(bar 150 ms; beside it protobuf's own way), and the client loaded in a process of its own (bars 1 s, 80 MiB).
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Call = Callable[[], object]
SIZES = {"tiny": 224, "classifier": 224, "unet": 256}
NETWORKS = {"classifier": "resnet18", "unet": "basic_unet"}
CLIENTS = (1, 8)


@dataclass(frozen=True)
class Turn:
    """What one turn measured: latencies in ms, requests a second, ms of processor time a request."""

    p50: float
    p99: float
    rate: float
    cpu: float


def save(name: str, folder: Path) -> None:
    """Writes a network as `radkit export` would, without a run: (batch, size, size, 1) float32 in, float32 out."""
    import keras
    import tensorflow as tf

    from radkit import models

    keras.utils.set_random_seed(0)
    shape = (SIZES[name], SIZES[name], 1)
    if name == "tiny":  # the server's own share is all that there is beside it
        layers = keras.layers
        image = keras.Input(shape)
        x = image
        for filters in (8, 16, 32):
            x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        outputs = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
        network = keras.Model(image, outputs)
    else:
        network = models.build(NETWORKS[name], input_shape=shape, num_classes=2)
    module = tf.Module()
    module.kept = [v.value for v in network.variables]
    module.answer = tf.function(
        lambda image: {"answer": network(image, training=False)},
        input_signature=[tf.TensorSpec([None, *shape], tf.float32, name="image")],
    )
    tf.saved_model.save(module, str(folder / "1"), signatures=module.answer)


@contextmanager
def served(folders: dict[str, Path], flags: list[str]) -> Iterator[tuple[str, int]]:
    """Yields the address of a server of these models, and its process."""
    command = [sys.executable, "-m", "radkit", "serve", "--port=0", *flags]
    command += [f"--model={name}={folder}" for name, folder in folders.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."}) as process:
        assert process.stdout is not None
        try:
            found = re.search(r" on (\S+:\d+)$", process.stdout.readline().strip())
            if not found:
                raise SystemExit("the server did not start; its words are above")
            yield found[1], process.pid
        finally:
            process.terminate()


def processor_s(pid: int) -> float:
    """Returns the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turn(call: Call, clients: int, seconds: float, pid: int) -> Turn:
    """Measures a call made by so many threads, each on and on, and the processor time of a process."""
    times: list[list[float]] = [[] for _ in range(clients)]
    ends = time.perf_counter() + seconds

    def ask(found: list[float]) -> None:
        while (started := time.perf_counter()) < ends:
            call()
            found.append(time.perf_counter() - started)

    threads = [threading.Thread(target=ask, args=(found,)) for found in times]
    started, had = time.perf_counter(), processor_s(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    latencies = np.concatenate([np.array(found) for found in times]) * 1000
    p50, p99 = np.percentile(latencies, [50, 99])
    cpu = (processor_s(pid) - had) / len(latencies) * 1000
    return Turn(float(p50), float(p99), len(latencies) / wall, cpu)


def measure(direct: Call, asked: Call, pid: int, clients: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Returns the medians over the turns, [direct, served], by figure."""
    ways, pids = (direct, asked), (os.getpid(), pid)
    turns: tuple[list[Turn], list[Turn]] = ([], [])
    for way, its in zip(ways, pids):
        turn(way, clients, min(seconds, 1.0), its)
    for number in range(rounds):
        for place in (0, 1) if number % 2 else (1, 0):
            turns[place].append(turn(ways[place], clients, seconds, pids[place]))
    return {
        field: [statistics.median(getattr(one, field) for one in found) for found in turns]
        for field in ("p50", "p99", "rate", "cpu")
    }


def bars(name: str, clients: int, found: dict[str, list[float]]) -> list[tuple[str, float, float, bool]]:
    """Returns what is asked for: words, figure, bar, whether it is reached."""
    (p50, with_p50), (p99, with_p99), (rate, with_rate) = (found[key] for key in ("p50", "p99", "rate"))
    if clients == 1 and name != "unet":
        more, tail, cpu = with_p50 - p50, with_p99 / p99, found["cpu"][1] - found["cpu"][0]
        return [
            ("p50 above direct, ms", more, 0.8, more <= 0.8),
            ("p99 / direct", tail, 1.3, tail <= 1.3),
            ("processor above direct, ms", cpu, 0.5, cpu <= 0.5),
        ]
    if clients == 1:
        return [("p50 / direct", with_p50 / p50, 1.03, with_p50 / p50 <= 1.03)]
    if name == "tiny":  # what gRPC costs in Python on both sides; nothing is asked of it
        return []
    least = 0.85 if name == "classifier" else 0.9
    return [("requests/s / direct", with_rate / rate, least, with_rate / rate >= least)]


def messages_of(rounds: int) -> None:
    """Measures what needs no server: a large message, and the client's own weight."""
    from serving import codec, messages, protocol

    volume = np.random.default_rng(0).normal(size=(1, 256, 256, 512, 1)).astype(np.float32)
    times: tuple[list[float], ...] = ([], [], [], [])
    head = messages.PredictRequest(model_spec=messages.ModelSpec(name="m"))
    for _ in range(rounds):
        begun = time.perf_counter()
        data = codec.request(head, {"image": volume})
        built = time.perf_counter()
        codec.inputs_of(data)
        parsed = time.perf_counter()
        plain = messages.PredictRequest(inputs={"image": protocol.to_tensor(volume)}).SerializeToString()
        theirs = time.perf_counter()
        protocol.to_array(messages.PredictRequest.FromString(plain).inputs["image"])
        for found, span in zip(times, (built - begun, parsed - built, theirs - parsed, time.perf_counter() - theirs)):
            found.append(span * 1000)
    build, parse, their_build, their_parse = map(statistics.median, times)
    print(f"134 MB     by protobuf: built in {their_build:.1f} ms, parsed in {their_parse:.1f} ms")
    told("134 MB", [("built and parsed, ms", build + parse, 150, build + parse <= 150)])
    code = (
        "import time; begun = time.perf_counter(); import serving.client; print(time.perf_counter() - begun, "
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(rounds)
    ]
    seconds, kib = (statistics.median(column) for column in zip(*(map(float, run.stdout.split()) for run in runs)))
    told("client", [("loaded, s", seconds, 1, seconds < 1), ("peak, MiB", kib / 1024, 80, kib / 1024 < 80)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--flags", action="append", default=[], help="Of radkit serve; may be given again.")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from serving import client

    messages_of(given.rounds)
    with tempfile.TemporaryDirectory() as base:
        folders = {name: Path(base) / name for name in given.models}
        for name, folder in folders.items():
            save(name, folder)
        with served(folders, given.flags) as (address, pid), client.Client(address) as made:
            for name, folder in folders.items():
                image = np.random.default_rng(0).normal(size=(1, SIZES[name], SIZES[name], 1)).astype(np.float32)
                answer = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]

                def direct(image: np.ndarray = image, answer: Callable[..., dict] = answer) -> np.ndarray:
                    return answer(image=tf.convert_to_tensor(image))["answer"].numpy()

                def asked(image: np.ndarray = image, name: str = name) -> np.ndarray:
                    return made.predict(name, {"image": image})["answer"]

                np.testing.assert_allclose(asked(), direct(), rtol=1e-5, atol=1e-5)
                for clients in CLIENTS:
                    report(name, clients, measure(direct, asked, pid, clients, given.seconds, given.rounds))


def report(name: str, clients: int, found: dict[str, list[float]]) -> None:
    """Prints one line of figures, and one for each bar."""
    for place, way in enumerate(("direct", "served")):
        p50, p99, rate, cpu = (found[key][place] for key in ("p50", "p99", "rate", "cpu"))
        figures = f"p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  {rate:8.1f} requests/s  processor {cpu:8.2f} ms a request"
        print(f"{name:10} {clients} clients {way}: {figures}")
    told(f"{name:10} {clients} clients", bars(name, clients, found))


def told(what: str, asked: list[tuple[str, float, float, bool]]) -> None:
    """Prints a line for each bar."""
    for words, figure, bar, reached in asked:
        print(f"{what:10} {words}: {figure:.3f} (bar {bar:g}) {'reached' if reached else 'MISSED'}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
