"""The same weights in MONAI's networks and in radkit's twins of them: are the outputs the same?

MONAI's networks, with random weights, answer in a process of their own; their weights are then loaded with
`radkit.models.weights.monai`. Printed for each: the largest difference in float32 as a share of the largest output, and
the share of equal classes in float32 and in bfloat16.

    python benchmarks/monai_weights.py --peer_python=.venv-bench/bin/python

Exit status 1: a float32 output is off by more than 1e-5, a class differs in float32, or over 1 % do in bfloat16.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Name: MONAI's class, its settings; radkit's name, its settings; the image's shape here; classes.
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], tuple[int, ...], int]] = {
    "BasicUNet 2-D": ("BasicUNet", {}, "basic_unet", {}, (48, 64, 1), 3),
    "BasicUNet 3-D": (
        "BasicUNet", {"features": (8, 8, 16, 16, 32, 8)}, "basic_unet", {"filters": (8, 8, 16, 16, 32, 8)},
        (32, 32, 16, 1), 3,
    ),
    "UNet 3-D": (
        "UNet", {"channels": (8, 16, 32, 32), "strides": (2, 2, 2), "num_res_units": 2}, "monai_unet",
        {"filters": (8, 16, 32, 32)}, (32, 32, 16, 1), 3,
    ),
    "DynUNet 3-D": (
        "DynUNet", {"kernel_size": [(1, 3, 3), 3, 3], "strides": [1, (1, 2, 2), 2],
                    "upsample_kernel_size": [(1, 2, 2), 2], "filters": [8, 16, 32]},
        "dynunet", {"filters": (8, 16, 32), "kernels": ((1, 3, 3), 3), "strides": (1, (1, 2, 2), 2)},
        (16, 32, 32, 1), 3,
    ),
    "SegResNet 3-D": ("SegResNet", {"init_filters": 16}, "segresnet", {"filters": 16}, (32, 32, 16, 1), 3),
    "DenseNet121 2-D": ("DenseNet121", {}, "densenet121", {"layout": "torch"}, (96, 80, 3), 4),
    "ResNet18 3-D": (
        "resnet18", {"conv1_t_stride": 2}, "resnet18", {"layout": "torch", "shortcut_bias": True}, (48, 48, 48, 1), 4,
    ),
}  # fmt: skip


def peer(name: str, folder: Path) -> None:
    """Writes a network's weights, an image and its answer (in the peers' Python)."""
    import torch
    from monai.networks import nets

    kind, settings, _, _, shape, classes = CASES[name]
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    channels, outputs = (
        ("n_input_channels", "num_classes") if kind.startswith("res") else ("in_channels", "out_channels")
    )
    torch.manual_seed(0)
    sizes = {"spatial_dims": len(shape) - 1, channels: shape[-1], outputs: classes}
    network = getattr(nets, kind)(**sizes, **settings).eval()
    with torch.no_grad():
        answer = network(torch.tensor(np.moveaxis(image, -1, 1))).numpy()
    np.savez(folder / "weights.npz", **{key: value.numpy() for key, value in network.state_dict().items()})
    np.savez(folder / "answer.npz", image=image, answer=np.moveaxis(answer, 1, -1))


def compare(name: str, folder: Path) -> bool:
    """Prints how far radkit's answers are off; returns whether that is near enough."""
    import keras

    from radkit import models
    from radkit.models.weights import monai

    _, _, twin, settings, shape, classes = CASES[name]
    told = np.load(folder / "answer.npz")
    answers = []
    for precision in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(precision)
        network = models.build(twin, input_shape=shape, num_classes=classes, **settings)
        monai.load(network, folder / "weights.npz")
        answers.append(np.asarray(network(told["image"], training=False), np.float32))
    off = float(np.abs(answers[0] - told["answer"]).max() / np.abs(told["answer"]).max())
    same, same_bfloat16 = ((a.argmax(-1) == told["answer"].argmax(-1)).mean() for a in answers)
    print(f"{name:<16} off by {off:.1e}, equal classes {same:.4%}, in bfloat16 {same_bfloat16:.2%}", flush=True)
    return off <= 1e-5 and same == 1 and bool(same_bfloat16 >= 0.99)


def main() -> int:
    """Compares all networks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer_python", default=sys.executable, help="Python of the peers' virtual environment.")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peer_folder", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.peer_folder:
        peer(flags.cases, Path(flags.peer_folder))
        return 0
    fine = True
    for name in flags.cases.split(","):
        with tempfile.TemporaryDirectory() as folder:
            command = [flags.peer_python, "-W", "ignore", __file__, f"--cases={name}", f"--peer_folder={folder}"]
            subprocess.run(command, check=True)
            fine = compare(name, Path(folder)) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
