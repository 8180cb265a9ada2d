"""radkit serve --autotune: how many calls at a time, and whether to join them, measured on this machine for each model.

The model's first warm-up request is asked over and over by several clients at a time. Candidates are measured in turns,
so that what else the machine does falls on all of them alike. Another way than the plain one (as many calls at a time
as processors, none joined) is taken only where it answers more requests a second by `GAIN`. One client alone is never
kept waiting for others, so that it is not measured for itself.
"""

import itertools
import os
import statistics
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from radkit.data import shards
from radkit.errors import UserError
from serving import batching, codec, messages, models, settings, warm_up

GAIN = 1.05
ROUNDS = 3
ROUND_S = 1.0
BATCHES = (2, 4, 8)

Request = tuple[str, Mapping[str, np.ndarray]]


def tune(name: str, model: models.Model, round_s: float = ROUND_S) -> str:
    """Measures a model, stores what is best beside it, and returns what is to be told.

    Args:
        name: Its name.
        model: The version.
        round_s: Seconds for which each candidate is measured, `ROUNDS` times.

    Raises:
        UserError: It has no warm-up requests, or its folder cannot be written.
    """
    asked = requests(model)
    cpus = os.cpu_count() or 1
    clients = max(4, 2 * cpus)
    candidates = [settings.Settings(workers) for workers in sorted({1, cpus, 2 * cpus})]
    joined_ones = [settings.Batching(size, measured=True) for size in BATCHES]
    candidates += [settings.Settings(cpus, batching=one) for one in joined_ones]
    runners = [batching.Runner(model, one) for one in candidates]
    for runner in runners:  # each size of batch is made ready before it is measured
        rate(runner, asked, clients, min(round_s, 0.2))
    rates: list[list[float]] = [[] for _ in candidates]
    for _, (found, runner) in itertools.product(range(ROUNDS), list(zip(rates, runners))):
        found.append(rate(runner, asked, clients, round_s))
    middle = [statistics.median(found) for found in rates]
    plain = candidates.index(settings.Settings(cpus))
    best = max(range(len(candidates)), key=middle.__getitem__)
    if middle[best] < GAIN * middle[plain]:
        best = plain
    figures = [_figure(one, value) for one, value in zip(candidates, middle)]
    told = {"clients": clients, "cpus": cpus, "requests_per_s": figures}
    try:
        settings.write(model.folder, candidates[best], told)
    except OSError as error:
        raise UserError(f"--autotune cannot write beside {model.folder}: {error.strerror}") from error
    gain = middle[best] / middle[plain]
    joined = candidates[best].batching
    how = f"{candidates[best].workers} at a time, " + (
        f"up to {joined.max_batch_size} joined" if joined else "none joined"
    )
    return f"autotune: {name} version {model.version}: {how}, {middle[best]:.1f} requests/s ({gain:.2f}x the default)"


def _figure(one: settings.Settings, value: float) -> dict[str, float | int]:
    size = one.batching.max_batch_size if one.batching else 1
    return {"workers": one.workers, "max_batch_size": size, "requests_per_s": round(value, 2)}


def requests(model: models.Model) -> list[Request]:
    """Returns what a model's warm-up file asks, signatures and inputs.

    Raises:
        UserError: There is none.
    """
    path = model.folder / warm_up.FILE
    found: list[Request] = []
    for data in shards.read_shard(path) if path.is_file() else ():
        log = messages.PredictionLog.FromString(data)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            inputs, head = codec.inputs_of(request.SerializeToString())
            found.append((head.model_spec.signature_name, inputs))
    if not found:
        raise UserError(f"--autotune needs requests to measure with; {path} is missing (radkit export writes it)")
    first = found[0][0]
    return [(signature, inputs) for signature, inputs in found if signature == first]


def rate(runner: batching.Runner, asked: Sequence[Request], clients: int, seconds: float) -> float:
    """Returns the requests a second that several clients get answered, each asking on and on."""
    ends, counts = time.perf_counter() + seconds, [0] * clients
    failures: list[Exception] = []

    def ask(place: int) -> None:
        # All ask the same at about the same time, as where one machine's images come in.
        for signature, inputs in itertools.cycle(asked[:1]):
            try:
                runner.answer(signature, inputs)
            except Exception as error:  # noqa: BLE001 - raised by the measuring thread below
                failures.append(error)
                return
            counts[place] += 1
            if time.perf_counter() > ends:
                return

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise UserError(f"--autotune: the model does not answer its own warm-up request: {failures[0]}")
    return sum(counts) / (time.perf_counter() - started)
