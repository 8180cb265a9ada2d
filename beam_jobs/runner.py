"""How a Beam job runs here: which runner, a progress bar from outside Beam, and one file of outcomes.

Beam's own default first looks for an executable to download, so no job is ever left to it: without `--runner` a job
runs in this process (FnApiRunner), and a long one in as many processes as there are processors.
"""

import contextlib
import importlib
import io
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from tqdm import tqdm

from beam_jobs import workers
from radkit import quiet
from radkit.errors import UserError, did_you_mean

# Beam's worker processes cost about three seconds to start; below this many items one process is sooner done.
ITEMS_WORTH_PROCESSES = 2000
ITEMS_WORTH_A_POOL = 200
# Beam knows this runner by its full name only.
_NO_JAR = "Unable to fetch remote job server jar"  # how Beam begins to say so
_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
ENDPOINT_SECONDS = 10.0  # a job server that is there answers sooner
_IN_MEMORY = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def batches(items: Sequence[Any], size: int) -> Iterator[tuple[int, list[Any]]]:
    """Yields (number, items) in order: the elements that a job distributes."""
    for number, start in enumerate(range(0, len(items), size)):
        yield number, list(items[start : start + size])


def run(
    build: Callable[[Any, str], None],
    beam_flags: Sequence[str],
    *,
    num_items: int,
    what: str,
    pools: bool = False,
    slow: bool = False,
    guarded: bool = False,
) -> None:
    """Builds and runs a pipeline to its end, with a progress bar.

    Args:
        build: Called with the pipeline and the ledger's folder; workers tell `finished(ledger, ...)`.
        beam_flags: Beam's own flags, as `--runner=...`; empty chooses by size.
        num_items: How many items (files, series) the bar counts to.
        what: The bar's label.
        pools: Whether the pipeline's work goes through `each`, so that local processes may share it.
        slow: Whether an item takes so long that even a few are worth a pool.
        guarded: Whether even one process's work is done in a child, which may die and is replaced.

    Raises:
        UserError: A flag that Beam does not know, a value that it does not take, or no job server where Beam wants one.
        WorkerDied: Processes of the pool died again and again.
    """
    refuse_unknown(beam_flags)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    ledger = tempfile.mkdtemp(prefix="radkit-ledger-")
    try:
        number = local_workers(beam_flags, ITEMS_WORTH_A_POOL if slow else num_items) if pools else 0
        with _pool(number if number > 1 or guarded else 0):
            chosen = flags(beam_flags, num_items) if not number else [_IN_MEMORY, *_without_workers(beam_flags)]
            pipeline = _pipeline(chosen)
            build(pipeline, ledger)
            # Beam's worker processes log every connection to stderr.
            with quiet.held_back() as terminal, _progress(ledger, num_items, what, terminal), _interrupts(), _served():
                pipeline.run().wait_until_finish()
    finally:
        shutil.rmtree(ledger, ignore_errors=True)


def _pipeline(chosen: Sequence[str]) -> Any:
    try:
        return beam.Pipeline(options=PipelineOptions(chosen))
    except (ValueError, ImportError, AttributeError) as error:  # no such runner, or not all that it needs
        raise UserError(f"Beam refuses its flags: {error}") from error


@contextlib.contextmanager
def _served() -> Iterator[None]:
    """Tells in a line that Beam got no job server; what ends a step, and all that is not known, passes through."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_NO_JAR):
            raise
        raise UserError(
            "Beam's job server for this runner is a jar that could not be downloaded; start one and name it "
            "(--job_endpoint=host:port), or fetch the jar and name the file (--flink_job_server_jar, "
            "--spark_job_server_jar)"
        ) from error


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Gives Ctrl-C back its own name: Beam wraps whatever ends a step in an error of its own."""
    try:
        yield
    except Exception as error:
        met: BaseException | None = error
        while met is not None:
            if isinstance(met, KeyboardInterrupt) or str(met).startswith("KeyboardInterrupt"):
                raise KeyboardInterrupt from error
            met = met.__cause__ or met.__context__
        raise


def flags(beam_flags: Sequence[str], num_items: int) -> list[str]:
    """Returns Beam's flags with a runner named: in memory for small jobs, in several processes for long ones.

    >>> flags([], 10)
    ['--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner']
    >>> flags(["--runner=DataflowRunner"], 10)
    ['--runner=DataflowRunner']
    """
    if any(flag.split("=")[0] == "--runner" for flag in beam_flags):
        return [f"--runner={_DASK}" if flag == "--runner=DaskRunner" else flag for flag in beam_flags]
    chosen = [_IN_MEMORY]
    said = {flag.split("=")[0] for flag in beam_flags}
    if num_items >= ITEMS_WORTH_PROCESSES and "--direct_running_mode" not in said:
        chosen.append("--direct_running_mode=multi_processing")
        if "--direct_num_workers" not in said:
            chosen.append(f"--direct_num_workers={os.cpu_count() or 1}")
    return [*chosen, *beam_flags]


def local_workers(beam_flags: Sequence[str], num_items: int) -> int:
    """Returns how many processes of this machine share a job that runs here; 0 where Beam's flags say another way.

    Beam's own worker processes take three seconds to start and a connection for each word; a pool that is forked off
    takes none.

    >>> local_workers(["--runner=DataflowRunner"], 10), local_workers(["--direct_num_workers=3"], 10)
    (0, 3)
    """
    said = dict(flag.split("=", 1) for flag in beam_flags if "=" in flag)
    if "--runner" in said or "--direct_running_mode" in said:
        return 0
    number = said.get("--direct_num_workers", "0" if num_items >= ITEMS_WORTH_A_POOL else "1")
    return int(number) or os.cpu_count() or 1


def _without_workers(beam_flags: Sequence[str]) -> list[str]:
    return [flag for flag in beam_flags if not flag.startswith("--direct_num_workers")]


_pool_here: workers.Pool | None = None  # of the job that runs in this process


@contextlib.contextmanager
def _pool(number: int) -> Iterator[None]:
    """Keeps worker processes for the block, when there shall be any."""
    global _pool_here
    if not number:
        yield
        return
    pool = _pool_here = workers.Pool(number)
    failed = True
    try:
        yield
        failed = False
    except Exception as error:
        if pool.gave_up is not None:  # Beam tells it in words of its own
            raise pool.gave_up from error
        raise
    finally:
        _pool_here = None
        # Killed where the block failed: nobody may write on where all is being removed.
        pool.close(kill=failed)


def each(function: Callable[..., None], *arguments: Any) -> Any:
    """Returns a step that calls a function for each element: here, or in the pool of the job that runs here.

    There an element whose worker dies is tried again, see `workers.Pool.submit`.
    """
    if _pool_here is None:
        return beam.Map(function, *arguments)
    return beam.ParDo(_Pooled(function, *arguments))


class _Pooled(beam.DoFn):  # type: ignore[misc]
    """Hands elements to the pool and waits for them at the bundle's end; Beam calls its methods."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        super().__init__()
        self._function, self._arguments = function, arguments
        self._waiting: list[Any] = []

    def start_bundle(self) -> None:
        """Begins a bundle."""
        self._waiting = []

    def process(self, element: Any) -> None:
        """Hands an element over."""
        if _pool_here is None:
            raise RuntimeError("the pool is gone")
        self._waiting.append(_pool_here.submit(self._function, element, *self._arguments))

    def finish_bundle(self) -> None:
        """Waits for what the bundle handed over; an error of a worker's is raised here."""
        for waiting in self._waiting:
            waiting.result()


def refuse_unknown(beam_flags: Sequence[str]) -> None:
    """Refuses flags that are not Beam's: `run` does, and who makes anything before it should.

    Raises:
        UserError: A flag that Beam does not know, a value that it does not take, a word that is no flag, or a job
            server that is not there.
    """
    words = [word for word in beam_flags if not word.startswith("-")]
    options = _refuse_flags([word for word in beam_flags if word.startswith("-")])
    if words:
        raise UserError(f"{words[0]!r} was not expected; flags are written --name=value (see --help)")
    for flag in beam_flags:
        if flag.startswith("--direct_num_workers=-"):
            raise UserError(f"{flag} was not expected; give a whole number, 0 for all processors")
    _refuse_endpoint(options["runner"] or "", options["job_endpoint"] or "")


def _refuse_endpoint(named: str, endpoint: str) -> None:
    """Refuses a job server that is not there: Beam would wait for it without a word."""
    if not endpoint:
        if named.rpartition(".")[2].lower() == "portablerunner":
            raise UserError(f"--runner={named} needs a job server; name it with --job_endpoint=host:port")
        return
    if endpoint == "embed":  # Beam's own, in this process
        return
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--job_endpoint={endpoint} was not expected; it is written host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ENDPOINT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"--job_endpoint={endpoint}: no job server answers there ({error.strerror or error}); start it first"
        ) from error


def _refuse_flags(beam_flags: Sequence[str]) -> dict[str, Any]:
    """Returns all of Beam's options."""
    logging.getLogger("apache_beam.options").setLevel(logging.ERROR)
    if "DaskRunner" in "".join(beam_flags):
        importlib.import_module(_DASK.rpartition(".")[0])  # by which its flags become known
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions(list(beam_flags))
            known = options.get_all_options()
            given = options.get_all_options(drop_default=True, retain_unknown_options=True)
    except SystemExit as error:  # argparse's way to say that a value does not fit
        last = said.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"Beam refuses its flags: {last or 'no reason given'}") from error
    unknown = [f"--{name}" for name in given if name not in known]
    if unknown:
        raise UserError(
            f"unknown flag {unknown[0]!r}{did_you_mean(unknown[0], [f'--{k}' for k in known])} (see --help)"
        )
    return dict(known)


def finished(ledger: str, part: int | str, count: int) -> None:
    """Notes that a part of `count` items is done; called in a worker on the same machine, else without effect."""
    if os.path.isdir(ledger):
        Path(ledger, f"{part}.{count}").touch()


class _progress:
    """A bar that counts the ledger's items from a thread: Beam itself says nothing before the end."""

    def __init__(self, ledger: str, num_items: int, what: str, terminal: TextIO) -> None:
        self._ledger, self._stop = ledger, threading.Event()
        self._bar = tqdm(total=num_items, desc=what, unit="file", mininterval=0.5, file=terminal)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._count()
        self._bar.close()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._count()

    def _count(self) -> None:
        done = sum(int(name.rsplit(".", 1)[1]) for name in os.listdir(self._ledger))
        self._bar.update(done - self._bar.n)


class WriteOutcomes(beam.PTransform):
    """Writes all outcomes (JSON-able dicts) to one JSON-lines file, sorted: the job's single terminal step."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, outcomes: Any) -> Any:
        """Returns the transform applied; Beam calls it."""
        return (
            outcomes
            | "AsText" >> beam.Map(lambda outcome: (None, json.dumps(outcome, sort_keys=True)))
            | "Together" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write_lines, self._path)
        )


def _write_lines(together: tuple[None, Iterable[str]], path: str) -> None:
    aside = f"{path}.incomplete.{os.getpid()}"
    with open(aside, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in sorted(together[1]))
    os.replace(aside, path)


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """Returns what `WriteOutcomes` wrote; an empty list when there was nothing to write."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
