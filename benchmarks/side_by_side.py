"""Runs workers in turn, each in a process of its own, and prints how many times faster the first is than each other.

A worker is a function of a folder of DICOM files; its CPU seconds count, without the start of its process. Rounds are
interleaved and the median of each round's ratio is printed: machines are shared, absolute times mean little.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

SERIES = Path(__file__).resolve().parents[1] / "radkit" / "demo" / "data" / "series" / "brain_mr_t1_post"
ROUNDS = 5


def main(
    script: str,
    workers: Mapping[str, Callable[[Path, Path], None]],
    ours: str,
    corpora: Mapping[str, Callable[[Path], None]],
) -> None:
    """Runs the benchmark that `script` is, or one worker when it was started as one.

    Args:
        script: The benchmark's `__file__`: workers are started as it.
        workers: By name, functions of the folder to read and an empty one to write to; the peers' run in the peers'
            environment.
        ours: The name of radkit's.
        corpora: By name, what writes the files into a folder that a worker gets.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--peer_python", default=sys.executable, help="Python of the peers' virtual environment.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--worker", choices=sorted(workers))
    parser.add_argument("--folder", type=Path)
    flags, _ = parser.parse_known_args()
    if flags.worker:
        print(json.dumps(_timed(workers[flags.worker], flags.folder)))
        return
    for corpus, make in corpora.items():
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            files = sum(path.is_file() for path in Path(folder).rglob("*"))
            seconds: dict[str, list[float]] = {name: [] for name in workers}
            for _ in range(flags.rounds):
                for name in workers:
                    seconds[name].append(_start(script, name, ours, flags.peer_python, folder))
        for name in workers:
            rate = files / statistics.median(seconds[name])
            ratio = statistics.median(peer / own for peer, own in zip(seconds[name], seconds[ours], strict=True))
            told = "" if name == ours else f"; {ours} is {ratio:.2f}x as fast"
            print(f"{corpus}: {name}: {rate:.1f} files per CPU second (median of {flags.rounds}){told}", flush=True)


def real_mr(copies: int) -> Callable[[Path], None]:
    """Returns what writes a folder for each copy of a real MR series of 25 files."""

    def write(folder: Path) -> None:
        for number in range(copies):
            shutil.copytree(SERIES, folder / f"{number:04d}")

    return write


def _start(script: str, worker: str, ours: str, peer_python: str, folder: str) -> float:
    python = sys.executable if worker == ours else peer_python
    command = [python, script, f"--worker={worker}", f"--folder={folder}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _timed(worker: Callable[[Path, Path], None], folder: Path) -> float:
    import resource

    def used() -> float:
        both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as out:
        first = min(folder.iterdir())
        (shutil.copytree if first.is_dir() else shutil.copy)(first, Path(warm, first.name))
        worker(Path(warm), Path(out))  # imports and first-call costs are not what is measured
    with tempfile.TemporaryDirectory() as out:
        before, started = used(), time.monotonic()
        worker(folder, Path(out))
        print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)
        return used() - before  # and not what it takes to remove the output
