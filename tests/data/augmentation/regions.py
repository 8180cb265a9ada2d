"""Regions as the pipeline hands them over, made up."""

from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.data import augment

VOLUME = config.Data("made_up", normalise="none")
RADIOGRAPH = config.Data("made_up", kind="radiograph", normalise="none")


def data_of(rank: int) -> config.Data:
    """Returns a data section for an image of so many axes, whose intensities stay as they are."""
    return VOLUME if rank == 3 else RADIOGRAPH


def region(image: np.ndarray, spacing_mm: tuple[float, ...] = (), **more: Any) -> dict[str, tf.Tensor]:
    """Returns a region that is the whole of a record: an image (*size), and whatever else."""
    rank = image.ndim
    slices = image.shape[0] if rank == 3 else 1
    example = {
        "image": image[..., None], "slope": np.ones(slices, np.float32), "intercept": np.zeros(slices, np.float32),
        "centre": np.zeros(2, np.float32), "deviation": np.float32(1), "low": np.zeros(rank, np.int32),
        "shape": np.array(image.shape, np.int32), "spacing_mm": np.array(spacing_mm or (1,) * rank, np.float32), **more,
    }  # fmt: skip
    return {name: tf.constant(value) for name, value in example.items()}


def around(size: tuple[int, ...], settings: config.Augment, spacing_mm: tuple[float, ...] = ()) -> tuple[int, ...]:
    """Returns the region's size for a patch's."""
    return augment.region_size(size, np.array([spacing_mm or (1,) * len(size)]), settings)


def changed(
    example: dict[str, tf.Tensor], seed: int, size: tuple[int, ...], settings: config.Augment, data: config.Data
) -> dict[str, np.ndarray]:
    """Returns the patch as numpy arrays."""
    found = augment.augment_example(example, tf.constant([seed, 7]), size, settings, data)
    return {name: value.numpy() for name, value in found.items()}
