"""Random changes of training images: image, mask, boxes, points and label together, as functions of a seed.

Everything here compiles with XLA (`tf.function(jit_compile=True)`) with static shapes, on a processor, a GPU or a TPU.
What is drawn depends on the seed and on nothing else: see `radkit.data.augmentation.draws`.

    size = augment.region_size(data.image_size, spacings_mm, settings)  # what must be cut out around a patch
    example = augment.augment_example(example, seed, data.image_size, settings, data)
    batch = augment.mix(batch, seed, settings, data)
"""

from collections.abc import Mapping

import tensorflow as tf

from radkit import config
from radkit.data import prepare
from radkit.data.augmentation import intensity, mirror_labels, placing, reach, sampling, spatial, values
from radkit.data.augmentation.mixing import mix as mix
from radkit.data.augmentation.placing import MIN_SHARE as MIN_SHARE
from radkit.errors import UserError

region_size = reach.region_size
_OF_REGIONS = frozenset({"slope", "intercept", "centre", "deviation", "low", "shape", "spacing_mm"})


@tf.autograph.experimental.do_not_convert  # it has no branch of Python's that depends on a tensor
def augment_example(
    example: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    size: tuple[int, ...],
    settings: config.Augment,
    data: config.Data,
    *,
    normalised: bool | tf.Tensor = False,
) -> dict[str, tf.Tensor]:
    """Returns the patch in the middle of a region, normalised and changed at random.

    Args:
        example: A region of a record, all shapes static.

            - `image`: (*region, 1) int16 or float32; modality value = image * slope + intercept.
            - `slope`, `intercept`: (slices of the region,) float32, (1,) of a radiograph.
            - `centre`, (2,) float32, and `deviation`, () float32: of the whole record, for `zscore`. The mean is the
              sum of the two: one float32 would round it. The deviation of a constant record is infinite.
            - `low`: (rank,) int32, the region's first voxel on the record's grid; may be negative.
            - `shape`: (rank,) int32, the record's size: what lies beyond it is padding.
            - `spacing_mm`: (rank,) float32; what is no number > 0 counts as 1.
            - `mask`: (*region, 1) uint8, if there is one.
            - `boxes`: (n, 2 * rank) float32, low and high edges in the region (voxel k reaches from k to k + 1), with
              `box_labels` (n,) int64, -1 where there is no box; `points`: (p, rank) float32, indices of voxel centres.
            - `label`: as the record holds it. Whatever else is there passes through.
        seed: (2,) integers; the same seed gives the same change.
        size: Of the patch; the region's less an even number of voxels along each axis.
        settings: How much of each change.
        data: The config's data section.
        normalised: Whether `image` holds normalised values (then slope 1, intercept 0); a () bool tensor where that
            differs from example to example.

    Returns:
        `image` (*size, 1) float32, `mask`, `boxes` (cut at the patch; label -1 and 0s where less than `MIN_SHARE` of
        one is left), `box_labels`, `points`, `label`, and what passed through.

    Raises:
        UserError: A setting is for another number of axes.
    """
    region = tuple(example["image"].shape[:-1].as_list())
    _check(region, size, settings)
    spacing_mm = _known(example["spacing_mm"])
    move = spatial.draw(seed, tuple(size), region, spacing_mm, settings, data)
    if move.between:
        image, mask = sampling.between(*_region(example, seed, settings, data, normalised, is_read_once=False), move)
    else:
        image, mask = sampling.mirrored(lambda: _region(example, seed, settings, data, normalised), move)
    result = {name: value for name, value in example.items() if name not in _OF_REGIONS}
    result["image"] = intensity.change(image, seed, spacing_mm, settings, data)
    if mask is not None:
        result["mask"] = mask
    if "boxes" in example:
        result["boxes"], result["box_labels"] = placing.boxes(example["boxes"], example["box_labels"], move)
    if "points" in example:
        result["points"] = placing.points(example["points"], move)
    return mirror_labels.swap(result, move.mirrored, settings, data)


def _region(
    example: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    settings: config.Augment,
    data: config.Data,
    normalised: bool | tf.Tensor,
    *,
    is_read_once: bool = True,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the region's normalised image and its mask, padded where the record ends."""
    fill = prepare.padding_value(data)

    def bare() -> list[tf.Tensor]:
        image = values.normalised(example, seed, settings, data, normalised)
        return [image, example["mask"]] if "mask" in example else [image]

    def padded() -> list[tf.Tensor]:
        return [values.padded(example, value, of) for value, of in zip(bare(), (fill, 0))]

    # Beside sparing work, the branch makes XLA compute each voxel of the region once: without it each of the eight
    # (four) voxels that a linear read takes would be normalised again.
    found = padded() if is_read_once else tf.cond(values.is_inside(example), bare, padded)
    return found[0], found[1] if len(found) > 1 else None


def _known(spacing_mm: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_finite(spacing_mm) & (spacing_mm > 0.0), spacing_mm, 1.0)


def _check(region: tuple[int, ...], size: tuple[int, ...], settings: config.Augment) -> None:
    rank = len(region)
    if settings.flip and len(settings.flip) != rank:
        raise UserError(f"augment.flip must be empty or {rank} booleans, one an axis, not {settings.flip}")
    angles = len(reach.planes(rank))
    if settings.rotate and len(settings.rotate) != angles:
        raise UserError(f"augment.rotate must be empty or {angles} angles in degrees, not {settings.rotate}")
    if len(size) != rank or any(have < want or (have - want) % 2 for have, want in zip(region, size)):
        raise ValueError(f"a region of {region} voxels does not lie around a patch of {size}; see augment.region_size")


@tf.autograph.experimental.do_not_convert
def augment_batch(
    batch: Mapping[str, tf.Tensor],
    seeds: tf.Tensor,
    size: tuple[int, ...],
    settings: config.Augment,
    data: config.Data,
    *,
    normalised: bool | tf.Tensor = False,
) -> dict[str, tf.Tensor]:
    """Returns what `augment_example` returns of each example with its seed, as a batch: for the accelerator.

    One example at a time, so that it takes the memory of one; each is large enough to keep a device busy.

    Args:
        batch: As `augment_example` takes an example, each value with a batch dimension in front.
        seeds: (batch, 2) integers.
        size: Of the patch.
        settings: How much of each change.
        data: The config's data section.
        normalised: As in `augment_example`; (batch,) bool where it is a tensor.
    """
    flags = normalised if isinstance(normalised, bool) else None
    each = {"seed": seeds, **({} if flags is not None else {"normalised": normalised})}

    def one(given: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        example, drawn = given
        flag = drawn["normalised"] if flags is None else flags
        return augment_example(example, drawn["seed"], size, settings, data, normalised=flag)

    kinds = {name: value.dtype for name, value in batch.items() if name not in _OF_REGIONS}
    return dict(tf.map_fn(one, (dict(batch), each), fn_output_signature={**kinds, "image": tf.float32}))
