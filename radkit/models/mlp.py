"""Multi-layer perceptron for tables: clinical values to logits; missing values may be nan.

Source: Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959, whose simplest baseline it is.
"""

from collections.abc import Sequence

import keras

from radkit.errors import UserError
from radkit.models import fusion, heads, layers

TASK = "classification"
RANKS = (0,)
SMALL = {"units": (8, 8)}
NORMS = ("none", "layer", "batch")


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    units: Sequence[int] = (64, 64),
    activation: str = "relu",
    norm: str = "layer",
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a perceptron from a table's row to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: The number of columns, as `(12,)`; a missing value is nan.
        num_classes: Number of logits.
        units: Of each hidden layer.
        activation: As `layers.activate`.
        norm: After each hidden layer: `none`, `layer` or `batch`.
        head: As `heads.classify`.
        dropout: Share of units dropped in training after each hidden layer.

    Raises:
        UserError: A normalisation that is none.
    """
    if norm not in NORMS:
        raise UserError(f"mlp has no norm {norm!r}; there are {', '.join(NORMS)}")
    inputs = keras.Input(input_shape, name="image")
    x = fusion.Known(name="known", dtype="float32")(inputs)
    for number, width in enumerate(units, 1):
        x = keras.layers.Dense(width, kernel_initializer="he_normal", name=f"dense{number}")(x)
        if norm != "none":
            made = {"layer": keras.layers.LayerNormalization, "batch": keras.layers.BatchNormalization}[norm]
            x = made(name=f"norm{number}")(x)
        x = layers.activate(x, activation)
        if dropout and number < len(units):  # the head drops what comes behind the last
            x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="mlp")
