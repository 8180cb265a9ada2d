"""What stands behind a pyramid: heads that all its levels share, and their answers as lists of places.

A detector answers a dict, float32, of all places of all levels, finest first, in the order of `boxes.anchors.Anchors`:

- `anchors`: (batch, places, 2 * rank), what its offsets are from; edges in the image's pixels;
- `levels`: (batch, places) int32, which level a place is of;
- `logits`: (batch, places, num_classes);
- `deltas`: (batch, places, 2 * rank), the offsets, as its coder has them;
- `boxes`: (batch, places, 2 * rank), edges in the image's pixels;
- `scores`: (batch, places, num_classes), 0 to 1: how sure it is of a class there.

What a family has beside them its file tells. `radkit.losses.detection` learns from this dict, and
`radkit.inference.detections` makes of `boxes` and `scores` what is answered.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import keras

from radkit.boxes import anchors, coder
from radkit.errors import UserError
from radkit.models import encoders, layers
from radkit.models.layers import pointwise, pyramids


def shared(make: Callable[[Any], Any], maps: Sequence[Any], name: str) -> list[Any]:
    """Returns what one network makes of each map; its weights are the same for all.

    Args:
        make: From a map to one tensor or a list of them.
        maps: All of one width.
        name: Of the network, whose layers' names stand below it.

    Raises:
        UserError: Maps of several widths.
    """
    widths = {x.shape[-1] for x in maps}
    if len(widths) != 1:
        raise UserError(f"a head that levels share needs maps of one width; they have {sorted(widths)}")
    given = keras.Input((*(None,) * (len(maps[0].shape) - 2), widths.pop()), dtype=maps[0].dtype)
    head = keras.Model(given, make(given), name=name)
    return [head(x) for x in maps]


def tower(
    x: Any, filters: int, depth: int, *, norm: str = "none", activation: str = "relu", name: str | None = None
) -> Any:
    """Returns a map after some 3 x 3 convolutions, each with its normalisation and activation.

    Args:
        x: A map.
        filters: Channels of each convolution.
        depth: How many.
        norm: As `layers.normalize` knows it.
        activation: Likewise.
        name: Its layers' names begin so; None: Keras's names.

    Raises:
        UserError: No such depth.
    """
    at_least(0, depth=depth)
    for number in range(depth):
        of_layer = None if name is None else f"{name}_{number}"
        x = layers.convolve(x, filters, 3, bias=norm == "none", name=of_layer)
        x = layers.normalize(x, norm, activation, name=of_layer and f"{of_layer}_norm")
    return x


def at_least(least: int, **settings: int) -> None:
    """Refuses settings that are no whole numbers from `least` on.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise UserError(f"{name} must be a whole number from {least} on, not {value!r}")


def predict(x: Any, width: int, *, prior: float = 0.5, size: int = 3, name: str | None = None) -> Any:
    """Returns a list of places, `(batch, places * n, width / n)` once reshaped: the last convolution, in float32.

    Args:
        x: A map.
        width: Channels: what is told of all shapes at a place.
        prior: What a sigmoid of an untrained answer is: near 0 where nearly all places are background.
        size: Of the kernel.
        name: Of the layer.
    """
    layer: Any = {2: pointwise.Conv2D, 3: pointwise.Conv3D}[len(x.shape) - 2]
    return layer(
        width, size, padding="same", name=name, dtype="float32",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(math.log(prior / (1.0 - prior))),
    )(x)  # fmt: skip


def listed(maps: Sequence[Any], width: int, name: str) -> Any:
    """Returns maps of one or more shapes a place as one list, (batch, places, width) float32, in the anchors' order."""
    rows = [keras.layers.Reshape((-1, width), dtype="float32")(x) for x in maps]
    return keras.layers.Concatenate(axis=1, dtype="float32", name=name)(rows) if len(rows) > 1 else rows[0]


@keras.saving.register_keras_serializable("radkit")
class Decoded(keras.layers.Layer):
    """Boxes of `[deltas, anchors]`, (batch, places, 2 * rank) each, by a coder of `radkit.boxes.coder`.

    Args:
        coder: `offsets` (middle and logarithm of sides), or `distances` (of the edges from the place's middle).
        scales: Of `offsets`.
    """

    def __init__(self, coder: str = "offsets", scales: Sequence[float] = (1.0, 1.0), **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if coder not in ("offsets", "distances"):
            raise UserError(f"coder must be offsets or distances, not {coder!r}")
        self.coder, self.scales = coder, tuple(float(scale) for scale in scales)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns boxes."""
        deltas, anchors = inputs
        if self.coder == "distances":
            return coder.decode_distances(deltas, anchors)
        return coder.decode(deltas, anchors, (self.scales[0], self.scales[1]))

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "coder": self.coder, "scales": self.scales}


class Backbone(NamedTuple):
    """A backbone's maps under a detector.

    Attributes:
        inputs: The detector's input.
        padded: The image, its sizes padded behind so that all maps halve exactly.
        maps: All of the backbone's, from stride 2, finest first.
        strides: Of each, one number an axis.
        levels: Those of the maps that are asked for, from 1 for the finest.
    """

    inputs: Any
    padded: Any
    maps: list[Any]
    strides: list[tuple[int, ...]]
    levels: tuple[int, ...]


def backbone(
    input_shape: tuple[int | None, ...],
    encoder: str,
    encoder_settings: Mapping[str, Any] | None,
    levels: Sequence[int],
) -> Backbone:
    """Returns a backbone's maps of an image; arguments as `pyramid`.

    Raises:
        UserError: Levels that the backbone does not have.
    """
    inputs = keras.Input(input_shape, name="image")
    # Behind, so that a place of the image is the same place of what is padded.
    padded = layers.PadToMultiple(encoders.MULTIPLE, side="after")(inputs)
    maps = encoders.features(encoder, padded, **dict(encoder_settings or {}))
    wanted = tuple(levels)
    follow = wanted and wanted == tuple(range(wanted[0], wanted[0] + len(wanted)))
    if not follow or wanted[0] < 1 or wanted[-1] > len(maps):
        raise UserError(
            f"levels {wanted} of backbone {encoder!r}: following numbers from 1 to {len(maps)} were expected"
        )
    return Backbone(inputs, padded, maps, encoders.strides(padded, maps), wanted)


def pyramid(
    input_shape: tuple[int | None, ...],
    encoder: str,
    encoder_settings: Mapping[str, Any] | None,
    levels: Sequence[int],
    extra_levels: int | None,
    filters: int,
    norm: str,
    join: Callable[..., list[Any]] = pyramids.feature_pyramid,
) -> tuple[Any, list[Any], list[tuple[int, ...]]]:
    """Returns a detector's input, its pyramid's maps, finest first, and their strides, one number an axis.

    Args:
        input_shape: Spatial sizes and channels.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, from 1 for the finest, of stride 2; empty: 3, 4, 5 in 2-D; 2, 3, 4, 5 in 3-D.
        extra_levels: Coarser ones; None: 2 in 2-D, none in 3-D.
        filters: Channels of all.
        norm: As `layers.normalize` knows it.
        join: What makes the pyramid: a function of `layers.pyramids`.

    Raises:
        UserError: Levels that the backbone does not have.
    """
    rank = len(input_shape) - 1
    wanted = tuple(levels) or ((3, 4, 5) if rank == 2 else (2, 3, 4, 5))
    extra = extra_levels if extra_levels is not None else (2 if rank == 2 else 0)
    found = backbone(input_shape, encoder, encoder_settings, wanted)
    maps, strides = (every[wanted[0] - 1 : wanted[-1]] for every in (found.maps, found.strides))
    joined = join(maps, filters, extra=extra, norm=norm)
    return found.inputs, joined, strides + further(strides[-1], extra)


def further(stride: tuple[int, ...], extra: int) -> list[tuple[int, ...]]:
    """Returns the strides of a pyramid's extra levels: each twice the one before."""
    return [tuple(2**number * step for step in stride) for number in range(1, extra + 1)]


def anchor_shapes(
    strides: Sequence[Sequence[int]],
    sizes: Sequence[float],
    ratios: Sequence[float],
    octaves: int,
    given: Sequence[Sequence[Sequence[float]]] = (),
) -> list[list[tuple[float, ...]]]:
    """Returns the sides of each level's anchors: those given, or cubes of 4 strides (or `sizes`) and their kin.

    Raises:
        UserError: Another number of sizes, or of lists, than of levels; or sides that are not one above 0 an axis.
    """
    rank = len(strides[0])
    if not given:
        edges = tuple(sizes) or tuple(4.0 * max(level) for level in strides)
        _one_a_level("sizes", len(edges), len(strides))
        return anchors.shapes(edges, ratios, octaves, rank)
    if isinstance(given, str):
        raise UserError(
            f"anchors={given!r}: lists of sides were expected; 'fit' is understood by `radkit train`, and in code "
            "radkit.boxes.fitting finds them"
        )
    _one_a_level("lists of anchors", len(given), len(strides))
    for shape in (shape for level in given for shape in level):
        if len(shape) != rank or not all(0 < side < math.inf for side in shape):
            raise UserError(f"an anchor of sides {tuple(shape)}: {rank} numbers above 0 were expected")
    return [[tuple(float(side) for side in shape) for shape in level] for level in given]


def _one_a_level(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise UserError(f"{found} {what} for {wanted} levels; one a level was expected")


def shared_heads(
    maps: Sequence[Any],
    shapes: Sequence[Sequence[tuple[float, ...]]],
    num_classes: int,
    filters: int,
    depth: int,
    norm: str,
) -> tuple[Any, Any]:
    """Returns logits and offsets of all places, (batch, places, ...): RetinaNet's two heads, the same for all levels.

    Args:
        maps: The pyramid's.
        shapes: Of each level's anchors.
        num_classes: Logits a place.
        filters: Channels of the heads.
        depth: Convolutions of each before its last.
        norm: Behind each of them, as `layers.normalize` knows it.

    Raises:
        UserError: Levels of different numbers of anchors.
    """
    counts, rank = {len(level) for level in shapes}, len(maps[0].shape) - 2
    if len(counts) != 1:
        raise UserError(f"heads that levels share need as many anchors a place on each; they have {sorted(counts)}")
    (count,) = counts

    def scored(x: Any) -> Any:
        x = tower(x, filters, depth, norm=norm, name="class")
        return predict(x, count * num_classes, prior=0.01, name="class_logits")

    def moved(x: Any) -> Any:
        x = tower(x, filters, depth, norm=norm, name="box")
        return predict(x, count * 2 * rank, name="box_deltas")

    logits = listed(shared(scored, maps, "class_head"), num_classes, "logits")
    return logits, listed(shared(moved, maps, "box_head"), 2 * rank, "deltas")


def one_stage(
    maps: Sequence[Any],
    shapes: Sequence[Sequence[tuple[float, ...]]],
    strides: Sequence[Sequence[int]],
    logits: Any,
    deltas: Any,
    *,
    coder: str = "offsets",
    scales: Sequence[float] = (1.0, 1.0),
    scores: Any = None,
) -> dict[str, Any]:
    """Returns the dict of the module's docstring, of what heads gave.

    Args:
        maps: The pyramid's.
        shapes: Of each level's anchors.
        strides: Of each level.
        logits: (batch, places, num_classes).
        deltas: (batch, places, 2 * rank).
        coder: As `Decoded` has it.
        scales: Likewise.
        scores: What is sure of each class; None: the logits' sigmoid.
    """
    placed = anchors.Anchors(shapes, strides, name="anchors")(list(maps))
    levels = anchors.Levels([len(level) for level in shapes], name="levels")(list(maps))
    boxes = Decoded(coder, scales, name="boxes")([deltas, placed])
    if scores is None:
        scores = keras.layers.Activation("sigmoid", dtype="float32", name="scores")(logits)
    return {
        "anchors": placed, "levels": levels, "logits": logits, "deltas": deltas, "boxes": boxes, "scores": scores
    }  # fmt: skip
