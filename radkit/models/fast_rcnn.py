"""Fast R-CNN and R-CNN, 2-D and 3-D: regions are given, the network tells what each is and where it ends.

Its second input is `proposals`, (batch, n, 2 * rank) float32, n free, edges of 0 behind the last: regions of any
source, as another detector's boxes or a radiologist's clicks.

Source: Girshick 2015, https://arxiv.org/abs/1504.08083, here on a pyramid and with grids cut out as He et al. 2017,
https://arxiv.org/abs/1703.06870; `levels=(4,)` is the one map of stride 16 that the paper has. `rcnn` cuts the image
itself and shows each region to the backbone: Girshick et al. 2014, https://arxiv.org/abs/1311.2524, its classes by a
softmax, as the paper's network while it learns, in the place of support vector machines.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import box_heads, encoders, layers, proposals

TASK = "detection"
LOSS = "fast_rcnn"
VARIANTS: dict[str, dict[str, Any]] = {
    "fast_rcnn": {},
    # 16 of the paper's 227 pixels are context, on each side.
    "rcnn": {"cut": "image", "enlarged": 227 / (227 - 2 * 16), "hidden": ()},
}
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "filters": 8,
    "size": 3,
    "hidden": (16,),
}


@keras.saving.register_keras_serializable("radkit")
class Given(keras.layers.Layer):
    """Proposals as they are given, float32 whatever the precision; nothing is learned through them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})

    def call(self, inputs: Any) -> Any:
        """Returns the proposals."""
        return ops.stop_gradient(ops.cast(inputs, "float32"))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    cut: Literal["maps", "image"] = "maps",
    levels: Sequence[int] = (2, 3, 4, 5),
    filters: int = 256,
    norm: str = "none",
    size: int = 0,
    enlarged: float = 1.0,
    hidden: Sequence[int] = (1024, 1024),
    num_proposals: int | None = None,
) -> keras.Model:
    """Returns a Fast R-CNN from `image` and `proposals` to the dict of `radkit.models.proposals`, second stage alone.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        cut: What regions are cut out of: the pyramid's `maps`, or the `image`; of the latter `levels`, `filters` and
            `norm` say nothing.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n.
        filters: Channels of the pyramid.
        norm: Of the pyramid, as `layers.normalize` knows it.
        size: Of the grid that is cut out, along each axis; 0: of maps 7 in 2-D and 4 in 3-D, of the image 224 as
            today's backbones and 32.
        enlarged: What regions' sides are multiplied by first, so that some of what is around them is seen.
        hidden: Widths of the layers before both answers.
        num_proposals: Regions an image; None: free.

    Raises:
        UserError: Levels that the backbone does not have, or another `cut`.

    Source: Girshick 2015, https://arxiv.org/abs/1504.08083; R-CNN: Girshick et al. 2014,
    https://arxiv.org/abs/1311.2524.
    """
    if cut not in ("maps", "image"):
        raise UserError(f"cut {cut!r} is none; there are: maps, image")
    if num_proposals is not None:
        box_heads.at_least(1, num_proposals=num_proposals)
    rank = len(input_shape) - 1
    if cut == "image":
        inputs: Any = keras.Input(input_shape, name="image")
        maps, strides = [inputs], [(1,) * rank]
    else:
        inputs, maps, strides = box_heads.pyramid(input_shape, encoder, encoder_settings, levels, 0, filters, norm)
    given = keras.Input((num_proposals, 2 * rank), dtype="float32", name="proposals")
    regions = Given(name="given")(given)
    shape = proposals.grid(size, rank, *((7, 4) if cut == "maps" else (224, 32)))
    grids = proposals.CutOut(strides, shape, enlarged, name="grids")([regions, *maps])
    if cut == "image":
        grids = _seen(grids, encoder, encoder_settings)
    answer = proposals.second_stage(proposals.connected(grids, hidden), regions, num_classes)
    return keras.Model([inputs, given], answer, name="fast_rcnn" if cut == "maps" else "rcnn")


def _seen(grids: Any, encoder: str, encoder_settings: Mapping[str, Any] | None) -> Any:
    """Returns what a backbone sees in each grid, (batch, n, channels): its coarsest map's mean."""
    x = layers.PadToMultiple(encoders.MULTIPLE, side="after")(proposals.NeverNone()(proposals.as_images(grids)))
    x = layers.global_average_pool(encoders.features(encoder, x, **dict(encoder_settings or {}))[-1])
    return proposals.PerBox(name="seen")([x, grids])
