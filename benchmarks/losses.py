"""Losses of masks: radkit's values and gradients against MONAI's on the same logits, in 2-D and 3-D.

    python benchmarks/losses.py --peer_python=.venv-bench/bin/python

Prints for each loss and its settings the difference of values (relative to the value where that is above 1) and the
largest of gradients, relative to the largest gradient. Takes about a minute. Exit status 1: one is above 1e-6.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_SOFT: dict[str, Any] = {"to_onehot_y": True, "softmax": True}
_SIGMOID: dict[str, Any] = {"to_onehot_y": True, "sigmoid": True}
_ONE_HOT: dict[str, Any] = {"to_onehot_y": True}
_FOREGROUND: dict[str, Any] = {**_SOFT, "include_background": False}
_MOST = 1e-6
_SMOOTH = {"smooth": 1e-5}
_ALL = {**_SMOOTH, "background": True}
# radkit's loss and settings, MONAI's class and settings.
CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("dice", _ALL, "DiceLoss", _SOFT),
    ("dice", _SMOOTH, "DiceLoss", _FOREGROUND),
    ("dice", {**_ALL, "squared": True}, "DiceLoss", {**_SOFT, "squared_pred": True}),
    ("dice", {**_SMOOTH, "batch": True}, "DiceLoss", {**_FOREGROUND, "batch": True}),
    ("dice", {**_SMOOTH, "jaccard": True}, "DiceLoss", {**_FOREGROUND, "jaccard": True}),
    ("dice", {**_SMOOTH, "class_weights": (0.5, 2.0)}, "DiceLoss", {**_FOREGROUND, "weight": (0.5, 2.0)}),
    ("dice", {**_ALL, "activation": "sigmoid"}, "DiceLoss", _SIGMOID),
    ("dice", {**_ALL, "soft_labels": True}, "DiceLoss", {**_SOFT, "soft_label": True}),
    ("dice", _ALL, "DiceLoss", {**_SOFT, "ignore_index": 255}),
    ("dice_and_cross_entropy", _ALL, "DiceCELoss", _SOFT),
    ("dice_and_cross_entropy", {**_SMOOTH, "squared": True, "label_smoothing": 0.1, "dice_weight": 0.7},
     "DiceCELoss", {**_FOREGROUND, "squared_pred": True, "label_smoothing": 0.1, "lambda_dice": 0.7}),
    ("dice_and_cross_entropy", {**_ALL, "batch": True, "class_weights": (0.2, 1.0, 3.0)},
     "DiceCELoss", {**_SOFT, "batch": True, "weight": (0.2, 1.0, 3.0)}),
    ("generalised_dice", {}, "GeneralizedDiceLoss", _SOFT),
    ("generalised_dice", {"volumes": "simple", "background": False},
     "GeneralizedDiceLoss", {**_FOREGROUND, "w_type": "simple"}),
    ("generalised_dice", {"batch": True}, "GeneralizedDiceLoss", {**_SOFT, "batch": True}),
    ("tversky", {}, "TverskyLoss", {**_FOREGROUND, "alpha": 0.3, "beta": 0.7}),
    ("tversky", {}, "TverskyLoss", {**_FOREGROUND, "alpha": 0.3, "beta": 0.7, "ignore_index": 255}),
    ("focal", {"mean_over_classes": True, "alpha": 0.25, "gamma": 1.5},
     "FocalLoss", {**_ONE_HOT, "use_softmax": True, "alpha": 0.25, "gamma": 1.5}),
    ("focal", {"activation": "sigmoid"}, "FocalLoss", _ONE_HOT),
    ("focal", {"activation": "sigmoid", "alpha": (0.2, 0.5, 0.9)}, "FocalLoss", {**_ONE_HOT, "alpha": (0.2, 0.5, 0.9)}),
    ("dice_and_focal", {**_ALL, "activation": "sigmoid"}, "DiceFocalLoss", _SIGMOID),
    ("boundary", {"background": True}, "BoundaryLoss", _SOFT),
    ("hausdorff", {}, "HausdorffDTLoss", _SOFT),
    ("cl_dice", {"background": True}, "SoftclDiceLoss", _SOFT),
    ("dice_and_cl_dice", {"share": 0.3}, "SoftDiceclDiceLoss", {**_FOREGROUND, "alpha": 0.3}),
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer_python", default=sys.executable, help="Python of the peers' virtual environment.")
    parser.add_argument("--as_peer", help="For this program's own use.")
    flags = parser.parse_args()
    if flags.as_peer:
        _of_monai(Path(flags.as_peer))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([flags.peer_python, __file__, f"--as_peer={folder}"], check=True)
        with np.load(Path(folder) / "monai.npz") as theirs:
            worst = max(_compare(rank, number, theirs) for rank in (2, 3) for number in range(len(CASES)))
    print(f"largest difference: {worst:.1e}")
    return int(worst > _MOST)


def _made(rank: int, unlabelled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns a mask of balls in shells, the second example without the inner class, and logits."""
    sizes = (17, 14) if rank == 2 else (9, 11, 7)
    random, mask = np.random.default_rng(rank), np.zeros((3, *sizes, 1), np.uint8)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in sizes], indexing="ij"), -1)
    for number in range(3):
        distance = np.linalg.norm((grid - np.array(sizes) / 2 - number) / np.array(sizes), axis=-1)
        mask[number, ..., 0] = (distance < 0.35).astype(np.uint8) + (distance < 0.2) * (number != 1)
    if unlabelled:
        mask[:, :3] = 255
    return mask, random.normal(0, 2, (3, *sizes, 3)).astype(np.float32)


def _of_monai(folder: Path) -> None:
    import torch
    from monai import losses

    found = {}
    for rank in (2, 3):
        for number, (_, _, name, settings) in enumerate(CASES):
            mask, logits = _made(rank, "ignore_index" in settings)
            weight = {"weight": torch.tensor(settings["weight"])} if "weight" in settings else {}
            given = torch.tensor(np.moveaxis(logits, -1, 1).copy(), requires_grad=True)
            with warnings.catch_warnings(action="ignore"):
                truth = torch.tensor(np.moveaxis(mask, -1, 1).astype(np.int64))
                loss = getattr(losses, name)(**{**settings, **weight})(given, truth)
            loss.backward()
            found[f"value {rank} {number}"] = loss.detach().numpy()
            found[f"gradient {rank} {number}"] = np.moveaxis(given.grad.numpy(), 1, -1)
    np.savez(folder / "monai.npz", **found)


def _compare(rank: int, number: int, theirs: Any) -> float:
    import tensorflow as tf

    from radkit import losses

    name, settings, peer, peer_settings = CASES[number]
    mask, logits = _made(rank, "ignore_index" in peer_settings)
    given = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = tf.reduce_mean(losses.find("segmentation", name)(mask, given, **settings))
    expected = float(theirs[f"value {rank} {number}"])
    of_value = abs(float(value) - expected) / max(1.0, abs(expected))
    gradient = theirs[f"gradient {rank} {number}"]
    of_gradient = float(np.abs(tape.gradient(value, given).numpy() - gradient).max() / np.abs(gradient).max())
    print(f"{rank}-D {name:24} {peer:22} value {of_value:.1e} gradient {of_gradient:.1e}  {settings}")
    return max(of_value, of_gradient)


if __name__ == "__main__":
    sys.exit(main())
