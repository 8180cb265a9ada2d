"""Kernels' gradients in half precision, of images smaller than the kernel too, against those in float32."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.models.layers import deconvolutions, depthwise, pointwise

# Sizes of the image along each axis, and what the layer is: the first four are those of which TensorFlow's own leaves
# parts unwritten, or writes beyond.
CASES: list[tuple[type[keras.Layer], tuple[int, ...], dict[str, Any]]] = [
    (pointwise.Conv3D, (2, 4, 4), {"kernel_size": 3}),
    (pointwise.Conv3D, (7, 1, 3), {"kernel_size": 3, "strides": 2}),
    (pointwise.Conv2D, (4, 1), {"kernel_size": 3, "strides": 2}),
    (depthwise.DepthwiseConv2D, (7, 1), {"kernel_size": 7, "strides": 2}),
    (depthwise.DepthwiseConv3D, (3, 7, 1), {"kernel_size": 3, "strides": 2}),
    (pointwise.Conv3D, (4, 6, 7), {"kernel_size": 5}),
    (pointwise.Conv3D, (4, 6, 7), {"kernel_size": 3, "dilation_rate": 2}),
    (pointwise.Conv3D, (4, 6, 7), {"kernel_size": 3, "use_bias": True, "activation": "relu"}),
    (pointwise.Conv2D, (2, 9), {"kernel_size": (3, 1), "groups": 2}),
    (deconvolutions.Conv3DTranspose, (1, 2, 2), {"kernel_size": 3, "strides": 2}),
    (deconvolutions.Conv2DTranspose, (1, 1), {"kernel_size": 5, "strides": 2}),
]
# Memory that nobody has written to is none of the numbers that a gradient could be.
DIRTY = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=128"}


def gradients(layer: keras.Layer, image: np.ndarray, upstream: np.ndarray, *, known: bool | None) -> list[np.ndarray]:
    """Returns those of the image and of the weights, in a graph that knows the image's sizes or not; None: eagerly."""

    def computed(image: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum(tf.cast(layer(image), tf.float32) * upstream)
        return list(tape.gradient(loss, [image, *(weight.value for weight in layer.trainable_variables)]))

    if known is None:
        return [np.array(one) for one in computed(tf.constant(image), tf.constant(upstream))]
    shape = image.shape if known else (None,) * (image.ndim - 1) + image.shape[-1:]
    graph = tf.function(computed, input_signature=[tf.TensorSpec(shape), tf.TensorSpec([None] * upstream.ndim)])
    return [np.array(one) for one in graph(image, upstream)]


def furthest(number: int) -> list[float]:
    """Returns how far each gradient of a case lies from float32's, as a share of its largest value."""
    kind, sizes, settings = CASES[number]
    random = np.random.default_rng(number)
    given = {} if issubclass(kind, (depthwise.DepthwiseConv2D, depthwise.DepthwiseConv3D)) else {"filters": 8}
    image = np.array(tf.cast(tf.cast(random.normal(size=(2, *sizes, 8)), tf.bfloat16), tf.float32))
    half, full = (kind(**given, **settings, padding="same", dtype=one) for one in ("mixed_bfloat16", "float32"))
    upstream = random.normal(size=full(image).shape)
    upstream = np.array(tf.cast(tf.cast(upstream, tf.bfloat16), tf.float32))
    half.build(image.shape)
    weights = [tf.cast(tf.cast(random.normal(size=one.shape), tf.bfloat16), tf.float32) for one in full.weights]
    full.set_weights(weights)
    half.set_weights(weights)
    wanted = gradients(full, image, upstream, known=True)
    found = [gradients(half, image, upstream, known=known) for known in (True, False, None) for _ in range(2)]
    return [
        float(np.nan_to_num(np.abs(one - other), nan=np.inf).max() / np.abs(other).max())
        for answer in found
        for one, other in zip(answer, wanted, strict=True)
    ]


def test_gradients_are_float32s_whatever_memory_holds() -> None:
    """In a process of its own: what is wrong there writes beyond its memory."""
    environment = {**os.environ, **DIRTY, "CUDA_VISIBLE_DEVICES": ""}
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.models.layers.test_kernel_gradients"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert len(found) == len(CASES)
    for (kind, sizes, settings), shares in zip(CASES, found):
        assert len(shares) >= 12
        assert max(shares) < 0.02, (kind, sizes, settings, shares)


@pytest.mark.parametrize("sizes", [(4, 4), (8, 4, 4)])
def test_large_images_keep_keras_s_graph(sizes: tuple[int, ...]) -> None:
    kind: Any = {2: pointwise.Conv2D, 3: pointwise.Conv3D}[len(sizes)]
    layer = kind(8, 3, padding="same", dtype="mixed_bfloat16", use_bias=False)
    image = np.zeros((2, *sizes, 8), "float32")
    layer.build(image.shape)
    graph = tf.function(lambda image: layer(image)).get_concrete_function(tf.TensorSpec(image.shape)).graph
    kinds = [one.type for one in graph.get_operations()]
    assert "IdentityN" not in kinds
    assert kinds.count(f"Conv{len(sizes)}D") == 1


if __name__ == "__main__":
    print(json.dumps([furthest(number) for number in range(len(CASES))]))
