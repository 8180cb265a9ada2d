"""Image and clinical table in one network: what each says is put side by side.

A network with a table takes `{"image": ..., "table": (batch, columns) float32}`; nan is a value that is not known.

Source: none; the plainest of the ways compared by Huang et al. 2020, https://doi.org/10.1038/s41746-020-00341-z (joint
fusion).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import encoders, heads, layers, slices

TASK = "classification"
SMALL: dict[str, Any] = {
    "backbone": "resnet",
    "backbone_settings": {"filters": (4, 8), "blocks": (1, 1)},
    "table_units": (4,),
    "units": (8,),
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    table: int = 0,
    backbone: str = "resnet18",
    backbone_settings: Mapping[str, Any] | None = None,
    table_units: Sequence[int] = (64, 32),
    units: Sequence[int] = (128,),
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a network from image and table to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels.
        num_classes: As `heads.classify`.
        table: Columns of the table, each of about mean 0 and variance 1; 0: there is none, and the input is the image
            alone.
        backbone: A backbone, as `encoders.features` knows it.
        backbone_settings: Its own settings.
        table_units: Widths of the layers that only the table passes.
        units: Widths of the layers that both pass.
        head: `linear` or `coral`.
        dropout: Share of the features dropped in training, before each layer that both pass and before the logits.

    Raises:
        UserError: A number of columns below 0.
    """
    if table < 0:
        raise UserError(f"fusion has a table of {table} columns; give their number, or 0 for none")
    image = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, 32, name="at_least")(image)
    x = slices.pool(encoders.features(backbone, x, **dict(backbone_settings or {}))[-1])
    inputs: Any = image
    if table:
        columns = keras.Input((table,), name="table", dtype="float32")
        inputs = {"image": image, "table": columns}
        y = Known(name="known", dtype="float32")(columns)
        for number, width in enumerate(table_units, 1):
            y = keras.layers.Dense(width, activation="relu", dtype="float32", name=f"table_{number}")(y)
        x = keras.layers.Concatenate(name="fused", dtype="float32")([x, y])
    for number, width in enumerate(units, 1):
        if dropout:
            x = keras.layers.Dropout(dropout, dtype="float32")(x)
        x = keras.layers.Dense(width, activation="relu", dtype="float32", name=f"fused_{number}")(x)
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="fusion")


@keras.saving.register_keras_serializable("radkit")
class Known(keras.layers.Layer):
    """Replaces what is not known of a table by a learned value, and says what was known.

    Input shape: `(batch, columns)`, nan where not known; output shape: `(batch, 2 * columns)`: the values, then 1 where
    they were known and 0 where not.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes one value a column."""
        self.replacement = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="replacement")

    def call(self, inputs: Any) -> Any:
        """Returns values and whether they were known."""
        unknown = ops.isnan(inputs)
        values = ops.where(unknown, ops.cast(self.replacement, inputs.dtype), inputs)
        return ops.concatenate([values, 1 - ops.cast(unknown, values.dtype)], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], 2 * int(input_shape[-1] or 0))
