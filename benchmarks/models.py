"""Training and inference of the same networks: radkit against MONAI on PyTorch, at the same precision and batch.

PyTorch gets what is best for it: the faster of its two memory layouts, tried before, and for bfloat16 its autocast.
Each network runs in a process of its own on each side; the two take turns, one step of one, one step of the other, and
the median of each turn's ratio is printed, for machines are shared. `default` is default against default, and includes
a change of precision: radkit trains in bfloat16 where the processor has it, MONAI in float32.

    python benchmarks/models.py --peer_python=.venv-bench/bin/python --cases=unet_2d,densenet121 --rounds=7

On two quiet cores all cases with 5 rounds take about 10 minutes. Exit status 1: a worker failed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import model_workers

ROOT = Path(__file__).resolve().parents[1]
# Name: (radkit's precision, MONAI's).
PRECISIONS = {
    "bfloat16": ("bfloat16", "bfloat16"),
    "float32": ("float32", "float32"),
    "default": ("bfloat16", "default"),
}


class Worker:
    """A process that holds one network and runs steps when told."""

    def __init__(self, python: str, side: str, case: str, precision: str, threads: int, script: str) -> None:
        """Starts the process: a script that serves as this one does, given the same flags."""
        surroundings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
        command = [python, script, f"--worker={side}", f"--cases={case}", f"--precisions={precision}"]
        self.process = subprocess.Popen(
            [*command, f"--threads={threads}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if side == "monai" else None, text=True, env=surroundings,
        )  # fmt: skip
        self.started = self._answer()

    def ask(self, what: str, steps: int) -> float:
        """Returns seconds a step."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {steps}\n")
        self.process.stdin.flush()
        return float(self._answer()["seconds"]) / steps

    def end(self) -> dict[str, Any]:
        """Stops the process; returns its peak memory, MiB, in all and beyond what it took to import."""
        assert self.process.stdin is not None
        self.process.stdin.write("end 0\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.process.wait()
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"a worker ended early: {' '.join(self.process.args)}")  # type: ignore[arg-type]


def serve(network: Any) -> None:
    """Is the worker: builds a network of `model_workers`, takes the first step, then obeys."""
    imported = model_workers.resident()
    started = time.perf_counter()
    network.build()
    built = time.perf_counter()
    network.train()
    told = {"build": built - started, "first_step": time.perf_counter() - built, "layout": network.layout}
    print(json.dumps({**told, "parameters": network.parameters()}), flush=True)
    for line in sys.stdin:
        what, steps = line.split()
        if what == "end":
            peak = model_workers.peak()
            print(json.dumps({"peak": peak, "beyond_imports": peak - imported}), flush=True)
            return
        step = {"train": network.train, "infer": network.infer}[what]
        started = time.perf_counter()
        for _ in range(int(steps)):
            step()
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


def compare(case: str, precision: str, flags: argparse.Namespace, script: str = __file__, spread: float = 0.0) -> None:
    """Runs both sides in turns and prints what was found.

    Args:
        case: A network, as the script knows it.
        precision: Of `PRECISIONS`.
        flags: Those of `main`.
        script: What the workers are started as.
        spread: By which share the numbers of weights may differ.
    """
    ours_at, theirs_at = PRECISIONS[precision]
    sides = {
        "radkit": Worker(sys.executable, "radkit", case, ours_at, flags.threads, script),
        "monai": Worker(flags.peer_python, "monai", case, theirs_at, flags.threads, script),
    }
    label = f"{case} {precision}"
    counts = [worker.started["parameters"] for worker in sides.values()]
    if max(counts) > (1 + spread) * min(counts):
        raise SystemExit(f"{label}: the networks differ: {counts} parameters")
    for what, steps in (("train", flags.steps), ("infer", 2 * flags.steps)):
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for side in sides:
            sides[side].ask(what, 1)
        for turn in range(flags.rounds):
            for side in sorted(sides, reverse=bool(turn % 2)):
                seconds[side].append(sides[side].ask(what, steps))
        ratios = [theirs / own for theirs, own in zip(seconds["monai"], seconds["radkit"], strict=True)]
        own, theirs = (1000 * statistics.median(seconds[side]) for side in ("radkit", "monai"))
        print(
            f"{label}: {what}: radkit {own:.0f} ms, MONAI {theirs:.0f} ms a step; {statistics.median(ratios):.2f}x "
            f"({min(ratios):.2f}-{max(ratios):.2f} over {flags.rounds})", flush=True,
        )  # fmt: skip
    ends = {side: worker.end() for side, worker in sides.items()}
    for side, worker in sides.items():
        told, end = worker.started, ends[side]
        print(
            f"{label}: {side}: build {told['build']:.1f} s, first step {told['first_step']:.1f} s; peak memory "
            f"{end['peak']:.0f} MiB, {end['beyond_imports']:.0f} beyond imports; layout {told['layout']}", flush=True,
        )  # fmt: skip


def main() -> None:
    """Compares what the flags name, or is a worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--cases", default=",".join(model_workers.CASES))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="Training steps a turn; inference takes twice as many.")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", choices=("radkit", "monai"))
    flags = parser.parse_args()
    if flags.worker:
        kind = {"radkit": model_workers.Radkit, "monai": model_workers.Monai}[flags.worker]
        serve(kind(model_workers.CASES[flags.cases], flags.precisions, flags.threads))
        return
    for case in flags.cases.split(","):
        for precision in flags.precisions.split(","):
            compare(case, precision, flags)


if __name__ == "__main__":
    main()
