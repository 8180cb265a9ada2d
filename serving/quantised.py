"""Weights stored in fewer bits and made float32 again in the graph, at each call: the network computes as before.

`float16` and `bfloat16` halve a kernel, `int8` makes it a quarter: whole numbers from -127 to 127 with one scale for
each output channel. Biases, scales of normalisation and statistics stay float32: they are small, and a variance need
not fit float16.

Source: Krishnamoorthi 2018, https://arxiv.org/abs/1806.08342, section 3.1.1 (symmetric, per channel, weights only).
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit.errors import UserError
from radkit.models.layers import depthwise

FLOAT32 = "float32"
WAYS = (FLOAT32, "float16", "bfloat16", "int8")
_MOST = 127.0


@dataclass(frozen=True)
class Kernel:
    """One kernel: what stands for it in the export.

    Attributes:
        variable: The network's own.
        values: As stored.
        scale: float32, what a step of int8 is worth, broadcast over the kernel; None: values are floats.
    """

    variable: keras.Variable
    values: tf.Variable
    scale: tf.Variable | None

    def whole(self) -> tf.Tensor:
        """Returns the kernel in float32."""
        found = tf.cast(self.values, tf.float32)
        return found if self.scale is None else found * self.scale


@dataclass(frozen=True)
class Kept:
    """Networks' kernels in fewer bits.

    Attributes:
        kernels: All that are stored otherwise than as float32.
        others: The networks' variables that are not among them.
    """

    kernels: tuple[Kernel, ...]
    others: tuple[Any, ...]

    @property
    def variables(self) -> list[tf.Variable]:
        """What an export has to hold."""
        scales = [kernel.scale for kernel in self.kernels if kernel.scale is not None]
        return [*self.others, *(kernel.values for kernel in self.kernels), *scales]


def keep(networks: Sequence[keras.Model], way: str) -> Kept | None:
    """Returns networks' weights stored in one of `WAYS`; None of float32, as they are.

    Raises:
        UserError: No such way, or networks without kernels.
    """
    if way not in WAYS:
        raise UserError(f"--weights must be one of {', '.join(WAYS)}, not {way!r}")
    if way == FLOAT32:
        return None
    kernels, others = [], []
    for network in networks:
        axes = _channels(network)
        for variable in network.variables:
            if len(variable.shape) >= 2 and variable.trainable and variable.dtype == FLOAT32:
                kernels.append(_kernel(variable, way, axes.get(id(variable), (-1,))))
            else:
                others.append(variable.value)
    if not kernels:
        raise UserError(f"--weights={way}: the network has no kernels; leave the flag out")
    return Kept(tuple(kernels), tuple(others))


def _channels(network: keras.Model) -> dict[int, tuple[int, ...]]:
    """Returns the axes of output channels of those kernels that do not have them last."""
    found: dict[int, tuple[int, ...]] = {}
    for layer in network._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if isinstance(layer, _TRANSPOSED) and kernel is not None:
            found[id(kernel)] = (-2,)  # (sizes, out, in)
        elif isinstance(layer, _DEPTHWISE) and kernel is not None:
            found[id(kernel)] = (-2, -1)  # (sizes, in, multiplier)
    return found


_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D, depthwise.DepthwiseConv3D)


def _kernel(variable: keras.Variable, way: str, channels: tuple[int, ...]) -> Kernel:
    values = np.asarray(variable.value)
    if way != "int8":
        cast = tf.cast(values, way)
        if not np.isfinite(tf.cast(cast, tf.float32)).all():
            raise UserError(
                f"--weights={way} cannot hold {np.abs(values).max():.3g}, a weight of {variable.path}; take bfloat16, "
                "int8 or float32"
            )
        return Kernel(variable, tf.Variable(cast, trainable=False), None)
    reduced = tuple(axis for axis in range(values.ndim) if axis - values.ndim not in channels)
    largest = np.abs(values).max(axis=reduced, keepdims=True)
    scale = np.where(largest > 0, largest / _MOST, 1.0).astype(np.float32)  # of a channel of zeros any scale is right
    steps = np.clip(np.rint(values / scale), -_MOST, _MOST).astype(np.int8)
    return Kernel(variable, tf.Variable(steps, trainable=False), tf.Variable(scale, trainable=False))


@contextlib.contextmanager
def reading(kept: Kept | None) -> Iterator[None]:
    """Makes networks that are traced in the block read the stored weights; None: their own."""
    if kept is None:
        yield
        return
    with keras.StatelessScope(state_mapping=[(kernel.variable, kernel.whole()) for kernel in kept.kernels]):
        yield
