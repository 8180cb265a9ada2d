"""Detection: what is measured is suppression (NMS) of 10,000 boxes in 3-D on one core, and RetinaNet's training step.

NMS is exact and greedy, with sizes that are free until it runs, as the served graph has it, and compiled by XLA.
Processor time on one core counts, for machines are shared; the limit is 50 ms. `spread` boxes hardly overlap: the first
tiles fill the list. `crowded` ones lie in 100 heaps and at IoU 0.1 fewer remain than are wanted, so that each of the
10,000 is compared; MONAI's answer to the same boxes is timed beside it.

RetinaNet with ResNet-50 and a pyramid runs against MONAI's on PyTorch as `models.py` has it; see `detection_workers`.

    python benchmarks/detection.py --peer_python=.venv-bench/bin/python --parts=nms,train --cases=retinanet_2d

Exit status 1: a worker failed, or NMS took longer than its limit.
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

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import detection_workers, models

NUM_BOXES, LIMIT_MS = 10_000, 50.0
# Name: (heaps or 0, IoU threshold, most).
CROWDS = {"spread": (0, 0.5, 300), "crowded": (100, 0.1, 1000)}


def drawn(heaps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes (n, 6), edges, and scores (n,), float32."""
    random = np.random.default_rng(0)
    middle = random.uniform(20, 230, (heaps or NUM_BOXES, 3))
    if heaps:
        middle = middle[random.integers(0, heaps, NUM_BOXES)] + random.normal(0, 3, (NUM_BOXES, 3))
    side = random.uniform(8, 20, (NUM_BOXES, 3))
    boxes = np.concatenate([middle - side / 2, middle + side / 2], -1)
    return boxes.astype(np.float32), random.uniform(size=NUM_BOXES).astype(np.float32)


def suppress(side: str, rounds: int) -> None:
    """Is a worker on one core: prints, a line a crowd, the kept boxes and milliseconds of processor time."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for crowd, (heaps, iou_threshold, most) in CROWDS.items():
        boxes, scores = drawn(heaps)
        for way, ask in _ways(side, boxes, scores, iou_threshold, most).items():
            kept, took = ask(), []  # the first traces
            for _ in range(rounds):
                started = time.process_time()
                ask()
                took.append(1000 * (time.process_time() - started))
            print(json.dumps({"crowd": crowd, "way": way, "kept": kept, "ms": took}), flush=True)


def _ways(side: str, boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, most: int) -> dict[str, Any]:
    if side == "monai":
        import torch
        from monai.data import box_utils

        torch.set_num_threads(1)
        given = torch.from_numpy(boxes), torch.from_numpy(scores)
        return {"MONAI": lambda: box_utils.non_max_suppression(*given, iou_threshold, most).tolist()}
    import tensorflow as tf

    from radkit.boxes import suppression

    tensors = tf.constant(boxes[None]), tf.constant(scores[None])

    def graph(compiled: bool) -> Any:
        free = (1, NUM_BOXES) if compiled else (None, None)

        @tf.function(input_signature=[tf.TensorSpec((*free, 6)), tf.TensorSpec(free)], jit_compile=compiled)
        def ask(boxes: Any, scores: Any) -> Any:
            return suppression.nms(boxes, scores, iou_threshold=iou_threshold, most=most)

        def answer() -> list[int]:
            index, valid = (x.numpy()[0] for x in ask(*tensors))
            found: list[int] = index[valid].tolist()
            return found

        return answer

    return {"radkit": graph(False), "radkit, XLA": graph(True)}


def compare_nms(flags: argparse.Namespace) -> bool:
    """Prints what both sides took; returns whether radkit's stayed within the limit."""
    lines = []
    for side, python in (("radkit", sys.executable), ("monai", flags.peer_python)):
        command = [python, __file__, f"--worker={side}", "--cases=nms", f"--rounds={flags.rounds}"]
        surroundings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
        lines += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    is_within = True
    for crowd in CROWDS:
        of_crowd = [line for line in lines if line["crowd"] == crowd]
        if any(line["kept"] != of_crowd[0]["kept"] for line in of_crowd):
            raise SystemExit(f"nms {crowd}: the answers differ: {[len(line['kept']) for line in of_crowd]} boxes")
        for line in of_crowd:
            median = statistics.median(line["ms"])
            is_within &= median <= LIMIT_MS or line["way"] == "MONAI"
            print(
                f"nms {crowd}: {NUM_BOXES} boxes in 3-D, {len(line['kept'])} kept: {line['way']}: {median:.1f} ms on "
                f"one core ({min(line['ms']):.1f}-{max(line['ms']):.1f} over {len(line['ms'])})", flush=True,
            )  # fmt: skip
    print(f"nms: the limit of {LIMIT_MS:.0f} ms is {'kept' if is_within else 'MISSED'}", flush=True)
    return is_within


def main() -> None:
    """Compares what the flags name, or is a worker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer_python", default=str(models.ROOT / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--parts", default="nms,train")
    parser.add_argument("--cases", default=",".join(detection_workers.CASES))
    parser.add_argument("--precisions", default="bfloat16,float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="Training steps a turn; inference takes twice as many.")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", choices=("radkit", "monai"))
    flags = parser.parse_args()
    if flags.worker and flags.cases == "nms":
        suppress(flags.worker, flags.rounds)
        return
    if flags.worker:
        kind = {"radkit": detection_workers.Radkit, "monai": detection_workers.Monai}[flags.worker]
        models.serve(kind(detection_workers.CASES[flags.cases], flags.precisions, flags.threads))
        return
    is_within = compare_nms(flags) if "nms" in flags.parts.split(",") else True
    if "train" in flags.parts.split(","):
        for case in flags.cases.split(","):
            for precision in flags.precisions.split(","):
                models.compare(case, precision, flags, script=__file__, spread=0.1)
    sys.exit(not is_within)


if __name__ == "__main__":
    main()
