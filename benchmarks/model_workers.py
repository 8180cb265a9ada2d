"""The networks of `models.py` on both sides: the same layers, batch, loss (cross-entropy) and optimizer (Adam)."""

import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILTERS = (16, 32, 64, 128, 256, 16)


@dataclass(frozen=True)
class Case:
    """A network and its batch."""

    batch: int
    sizes: tuple[int, ...]
    network: str
    classes: int = 2

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns images (batch, *sizes, 1), float32, and labels, one an image or one a pixel, int64."""
        random = np.random.default_rng(0)
        image = random.normal(size=(self.batch, *self.sizes, 1)).astype(np.float32)
        places = () if self.network == "densenet121" else self.sizes
        return image, random.integers(0, self.classes, (self.batch, *places))


CASES = {
    "unet_2d": Case(8, (256, 256), "basic_unet"),
    "unet_3d": Case(2, (64, 64, 64), "basic_unet"),
    "densenet121": Case(8, (224, 224), "densenet121"),
}


def resident() -> float:
    """Returns the process's memory now, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Returns the process's highest memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class Radkit:
    """Keras on TensorFlow, a compiled graph a step."""

    layout = "channels last"

    def __init__(self, case: Case, precision: str, threads: int) -> None:
        """Imports."""
        import keras
        import tensorflow as tf

        from radkit import models
        from trainers import optimizers, rules

        keras.config.set_dtype_policy({"bfloat16": "mixed_bfloat16", "float32": "float32"}[precision])
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.case, self.tf, self.models = case, tf, models
        self.new_optimizer = lambda: optimizers.Optimizer(rules.adamw(), 1e-3)

    def build(self) -> None:
        """Makes the network and traces its steps."""
        tf, case = self.tf, self.case
        settings: dict[str, Any] = {"filters": FILTERS} if case.network == "basic_unet" else {"layout": "torch"}
        shape = (*case.sizes, 1)
        network = self.models.build(case.network, input_shape=shape, num_classes=case.classes, **settings)
        optimizer = self.new_optimizer()  # the trainer's; without decay it is Adam
        optimizer.build(network.trainable_variables)
        image, label = (tf.constant(array) for array in case.arrays())

        @tf.function
        def train() -> Any:
            with tf.GradientTape() as tape:
                logits = network(image, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
                loss = tf.reduce_mean(losses)
            weights = [weight.value for weight in network.trainable_variables]
            optimizer.apply(tape.gradient(loss, weights), network.trainable_variables)
            return loss

        @tf.function
        def infer() -> Any:
            return network(image, training=False)

        self.network, self._train, self._infer = network, train, infer

    def train(self) -> None:
        """Takes one step of the optimizer."""
        self._train().numpy()

    def infer(self) -> None:
        """Answers one batch."""
        self._infer().numpy()

    def parameters(self) -> int:
        """Returns the number of trainable weights."""
        return sum(int(np.prod(weight.shape)) for weight in self.network.trainable_variables)


class Monai:
    """MONAI on PyTorch: channels last or first, whichever is faster here; `default` is first, float32."""

    def __init__(self, case: Case, precision: str, threads: int) -> None:
        """Imports."""
        import monai.networks.nets
        import torch

        torch.set_num_threads(threads)
        self.case, self.precision, self.torch, self.nets = case, precision, torch, monai.networks.nets
        self.layout = "channels first"

    def build(self) -> None:
        """Makes the network, in the faster of both layouts unless all is left at its default."""
        if self.precision != "default":
            # In a child, so that the trial does not count as this process's memory.
            context = multiprocessing.get_context("fork")
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=self._try, args=(sender,))
            child.start()
            self.layout = receiver.recv()
            child.join()
        self._make(self.layout)

    def _try(self, sender: Any) -> None:
        took = {}
        for layout in ("channels first", "channels last"):
            self._make(layout)
            self.train()
            started = time.perf_counter()
            self.train()
            took[layout] = time.perf_counter() - started
        sender.send(min(took, key=took.__getitem__))

    def _make(self, layout: str) -> None:
        torch, case, self.layout = self.torch, self.case, layout
        kind = {
            ("channels last", 2): torch.channels_last,
            ("channels last", 3): torch.channels_last_3d,
        }.get((layout, len(case.sizes)), torch.contiguous_format)
        common = {"spatial_dims": len(case.sizes), "in_channels": 1, "out_channels": case.classes}
        if case.network == "basic_unet":
            network = self.nets.BasicUNet(**common, features=FILTERS)
        else:
            network = self.nets.DenseNet121(**common)
        image, self.label = (torch.from_numpy(array) for array in case.arrays())
        self.image = torch.movedim(image, -1, 1).contiguous().to(memory_format=kind)
        self.network = network.to(memory_format=kind)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.loss = torch.nn.CrossEntropyLoss()

    def _cast(self) -> Any:
        return self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.precision == "bfloat16")

    def train(self) -> None:
        """Takes one step of the optimizer."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._cast():
            logits = self.network(self.image)
        loss = self.loss(logits.float(), self.label)
        loss.backward()
        self.optimizer.step()
        loss.item()

    def infer(self) -> None:
        """Answers one batch."""
        self.network.eval()
        with self.torch.inference_mode(), self._cast():
            self.network(self.image).sum().item()

    def parameters(self) -> int:
        """Returns the number of trainable weights."""
        return sum(weight.numel() for weight in self.network.parameters())
