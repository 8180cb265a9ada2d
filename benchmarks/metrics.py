"""Figures of two masks: radkit against MONAI, in turn, each in a process of its own.

Processor time of a call counts, on one core and without loading; MONAI's tensors and radkit's arrays are made before.
Dice is asked for alone. Then radkit's one call, which returns nine figures, stands against MONAI's calls for Dice, HD95
and both surface distances at a tolerance, together and each alone. Figures must agree; Dice, and the figures together,
must take radkit half the time at most.

    python benchmarks/metrics.py --peer_python=.venv-bench/bin/python

Exit status 1: a figure differs, or radkit is less than twice as fast in Dice or in all together.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SPACING, TAU = (2.0, 0.8, 0.8), 2.0
FIGURES = ("dice", "hd95", "nsd_voxel", "nsd_surfel")
# Name: shape, and the radii in voxels of the ellipsoid that is marked.
CASES = {
    "lesion": ((100, 256, 256), (4, 9, 9)),
    "organ": ((100, 256, 256), (30, 70, 70)),
    "body": ((300, 512, 512), (120, 150, 190)),
}
WANTED, LARGEST_DIFFERENCE = 2.0, 1e-4
Figures = dict[str, float]


def drawn(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns an ellipsoid and a shifted one with a wavy border, uint8."""
    shape, radii = CASES[case]
    places = np.ogrid[tuple(slice(size) for size in shape)]
    scaled = [(place - size / 2) / radius for place, size, radius in zip(places, shape, radii)]
    moved = [(place - size / 2 - 1) / radius for place, size, radius in zip(places, shape, radii)]
    ref = np.asarray(sum(axis**2 for axis in scaled)) < 1
    pred = np.asarray(sum(axis**2 for axis in moved)) < 1 + 0.1 * np.sin(places[1] / 4) * np.sin(places[2] / 5)
    return ref.astype(np.uint8), pred.astype(np.uint8)


def of_radkit(case: str) -> dict[str, Callable[[], Figures]]:
    from radkit.metrics import segmentation

    ref, pred = drawn(case)
    return {
        "dice": lambda: {"dice": segmentation.multilabel_dice(ref, pred, [1])[1]},
        "all": lambda: segmentation.segmentation_metrics(ref, pred, spacing=SPACING, tau=TAU),
    }


def of_monai(case: str) -> dict[str, Callable[[], Figures]]:
    import torch
    from monai import metrics

    torch.set_num_threads(1)
    ref, pred = (torch.from_numpy(mask[None, None]) for mask in drawn(case))
    floats = pred.float(), ref.float()

    def nsd(subvoxels: bool) -> float:
        found = metrics.compute_surface_dice(
            pred, ref, class_thresholds=[TAU], include_background=True, spacing=SPACING, use_subvoxels=subvoxels
        )
        return float(found)

    def hd95() -> float:
        return float(metrics.compute_hausdorff_distance(pred, ref, True, percentile=95, spacing=SPACING))

    return {
        "dice": lambda: {"dice": float(metrics.compute_dice(*floats))},
        "hd95": lambda: {"hd95": hd95()},
        "nsd_voxel": lambda: {"nsd_voxel": nsd(False)},
        "nsd_surfel": lambda: {"nsd_surfel": nsd(True)},
    }


def serve(side: str) -> None:
    """Is a worker: reads names of cases, and prints each call's figures and seconds."""
    warnings.simplefilter("ignore", FutureWarning)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    make = {"radkit": of_radkit, "monai": of_monai}[side]
    for call in make("lesion").values():
        call()  # what is loaded and worked out at the first call is not what is measured
    for line in sys.stdin:
        figures: Figures = {}
        seconds: dict[str, float] = {}
        for name, call in make(line.strip()).items():
            started = time.process_time()
            figures |= call()
            seconds[name] = time.process_time() - started
        print(json.dumps({"figures": figures, "seconds": seconds}), flush=True)


def ask(worker: subprocess.Popen[str], case: str) -> dict[str, dict[str, float]]:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(f"{case}\n")
    worker.stdin.flush()
    for line in worker.stdout:
        if line.startswith("{"):
            told: dict[str, dict[str, float]] = json.loads(line)
            return told
    raise SystemExit(f"{case}: a worker ended without an answer; its error stands above")


def compare(workers: dict[str, subprocess.Popen[str]], case: str, rounds: int) -> bool:
    """Prints how many times faster radkit is; returns whether that suffices and the figures agree."""
    told = [{side: ask(worker, case) for side, worker in workers.items()} for _ in range(rounds)]
    ours, theirs = (told[0][side]["figures"] for side in ("radkit", "monai"))
    unlike = [name for name in FIGURES if not abs(ours[name] - theirs[name]) <= LARGEST_DIFFERENCE]
    for name in unlike:
        print(f"{case} {name}: {ours[name]}, but {theirs[name]} by MONAI: MISSED", flush=True)
    is_good = not unlike
    for name in ("dice", "all", *FIGURES[1:]):
        own = [each["radkit"]["seconds"]["dice" if name == "dice" else "all"] for each in told]
        peers = [each["monai"]["seconds"] for each in told]
        peer = [sum(seconds.values()) if name == "all" else seconds[name] for seconds in peers]
        ratios = [b / a for a, b in zip(own, peer, strict=True)]
        is_missed = name in ("dice", "all") and statistics.median(ratios) < WANTED
        is_good &= not is_missed
        what = {"dice": "Dice", "all": "nine figures against MONAI's four"}.get(name, f"nine against {name} alone")
        print(
            f"{case}: {what}: radkit {1000 * statistics.median(own):.0f} ms, MONAI {1000 * statistics.median(peer):.0f}"
            f" ms; {statistics.median(ratios):.1f}x as fast ({min(ratios):.1f}-{max(ratios):.1f} over {rounds})"
            f"{' MISSED' if is_missed else ''}", flush=True,
        )  # fmt: skip
    return is_good


def main() -> None:
    """Compares what the flags name, or is a worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_python", default=str(Path(__file__).resolve().parents[1] / ".venv-bench/bin/python"))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=("radkit", "monai"))
    flags = parser.parse_args()
    if flags.worker:
        serve(flags.worker)
        return
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = {
        side: subprocess.Popen(
            [python, __file__, f"--worker={side}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings,
        )
        for side, python in (("radkit", sys.executable), ("monai", flags.peer_python))
    }  # fmt: skip
    found = [compare(workers, case, flags.rounds) for case in flags.cases.split(",")]
    for worker in workers.values():
        worker.communicate()
    sys.exit(not all(found))


if __name__ == "__main__":
    main()
