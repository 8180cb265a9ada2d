"""Inception-v3, 2-D and 3-D: branches of several kernels side by side, large kernels in factors.

Source: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567. Shapes and order of the weights are those of Keras's
applications, whose files fit by order: they have no names but numbers. In 3-D the slices are treated as the rows are:
a kernel of (rows, columns) is (rows, rows, columns), so that weights spread from 2-D.
"""

from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"width": 0.05}
VARIANTS: dict[str, dict[str, Any]] = {"inception_v3": {}}
LEAST = 75  # of which one voxel is left without padding

# A branch is its convolutions in order: channels, (rows, columns).
_ONE, _THREE, _FIVE = (1, 1), (3, 3), (5, 5)
_ROW, _COLUMN = (1, 7), (7, 1)
Branch = tuple[tuple[int, tuple[int, int]], ...]


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    norm: str = "batch",
    padding: str | None = None,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an Inception-v3 from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels.
        num_classes: Number of logits.
        width: Factor of all channels.
        norm: As `layers.normalize`; batch normalisation has no scale, as the paper's.
        padding: `valid`, the paper's: each stride drops borders, and what is smaller than 75 is padded; or `same`. If
            not given, `valid` in 2-D and `same` in 3-D, where volumes have few slices.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: A padding that is none.
    """
    padding = padding or ("valid" if len(input_shape) == 3 else "same")
    inputs = x = keras.Input(input_shape, name="image")
    if padding == "valid":
        x = layers.PadToMultiple(1, at_least=LEAST)(x)
    x = features(x, width, norm, padding)[-1]
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="inception_v3")


def features(x: Any, width: float = 1.0, norm: str = "batch", padding: str = "same") -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, 16 and 32, finest first; arguments as `build`.

    With `same` padding, the default here, sizes halve as other networks' do.
    """
    if padding not in ("valid", "same"):
        raise UserError(f"inception has no padding {padding!r}; there are valid, same")
    net = _Builder(width, norm, padding)
    x = net.convolve(x, 32, _THREE, "stem1", strides=2)
    x = net.convolve(x, 32, _THREE, "stem2", padding=padding)
    first = x = net.convolve(x, 64, _THREE, "stem3")
    x = layers.max_pool(x, 3, 2, padding=padding, name="pool1")
    x = net.convolve(x, 80, _ONE, "stem4")
    second = x = net.convolve(x, 192, _THREE, "stem5", padding=padding)
    x = layers.max_pool(x, 3, 2, padding=padding, name="pool2")
    for block, pooled in enumerate((32, 64, 64)):
        x = net.mixed(x, f"mixed{block}", _fine(pooled))
    third = x
    x = net.halved(x, "mixed3", ((384, _THREE),), ((64, _ONE), (96, _THREE), (96, _THREE)))
    for block, between in enumerate((128, 160, 160, 192), 4):
        x = net.mixed(x, f"mixed{block}", _middle(between))
    fourth = x
    x = net.halved(x, "mixed8", ((192, _ONE), (320, _THREE)), ((192, _ONE), (192, _ROW), (192, _COLUMN), (192, _THREE)))
    for block in (9, 10):
        x = net.coarse(x, f"mixed{block}")
    return [first, second, third, fourth, x]


def _fine(pooled: int) -> tuple[Branch, ...]:
    return (
        ((64, _ONE),), ((48, _ONE), (64, _FIVE)), ((64, _ONE), (96, _THREE), (96, _THREE)), ((pooled, _ONE),)
    )  # fmt: skip


def _middle(n: int) -> tuple[Branch, ...]:
    return (
        ((192, _ONE),),
        ((n, _ONE), (n, _ROW), (192, _COLUMN)),
        ((n, _ONE), (n, _COLUMN), (n, _ROW), (n, _COLUMN), (192, _ROW)),
        ((192, _ONE),),
    )


class _Builder:
    """Makes the blocks of one network: its width, normalisation and padding are the same everywhere."""

    def __init__(self, width: float, norm: str, padding: str) -> None:
        self.width, self.norm, self.padding = width, norm, padding

    def convolve(
        self, x: Any, filters: int, size: tuple[int, int], name: str, *, strides: int = 1, padding: str = "same"
    ) -> Any:
        """Applies convolution, normalisation and ReLU; a stride has the network's padding."""
        kernel = size if len(x.shape) == 4 else (size[0], *size)
        padding = padding if strides == 1 else self.padding
        filters = max(1, int(filters * self.width))
        x = layers.convolve(x, filters, kernel, strides, padding=padding, name=f"{name}_conv")
        if self.norm == "batch":
            x = layers.BatchNormalization(momentum=layers.MOMENTUM, scale=False, name=f"{name}_bn")(x)
            return layers.activate(x, "relu")
        return layers.normalize(x, self.norm, "relu", name=f"{name}_bn")

    def chain(self, x: Any, branch: Branch, name: str, *, strides: int = 1) -> Any:
        """Applies a branch's convolutions; the last one strides."""
        for number, (filters, size) in enumerate(branch, 1):
            step = strides if number == len(branch) else 1
            x = self.convolve(x, filters, size, f"{name}_{number}", strides=step)
        return x

    def mixed(self, x: Any, name: str, branches: tuple[Branch, ...]) -> Any:
        """Applies branches side by side, the last of them on local means."""
        found = [self.chain(x, branch, f"{name}_{number}") for number, branch in enumerate(branches[:-1], 1)]
        found.append(self.chain(layers.average_pool(x, 3, 1), branches[-1], f"{name}_pool"))
        return keras.layers.Concatenate(name=name)(found)

    def halved(self, x: Any, name: str, *branches: Branch) -> Any:
        """Applies branches that stride, beside max pooling."""
        found = [self.chain(x, branch, f"{name}_{number}", strides=2) for number, branch in enumerate(branches, 1)]
        found.append(layers.max_pool(x, 3, 2, padding=self.padding))
        return keras.layers.Concatenate(name=name)(found)

    def coarse(self, x: Any, name: str) -> Any:
        """Applies the last blocks' branches, two of which end in a row and a column side by side."""
        one = self.convolve(x, 320, _ONE, f"{name}_1")
        short = self.split(self.convolve(x, 384, _ONE, f"{name}_2"), f"{name}_2")
        long = self.convolve(self.convolve(x, 448, _ONE, f"{name}_3"), 384, _THREE, f"{name}_3_2")
        long = self.split(long, f"{name}_3")
        pooled = self.convolve(layers.average_pool(x, 3, 1), 192, _ONE, f"{name}_pool")
        return keras.layers.Concatenate(name=name)([one, short, long, pooled])

    def split(self, x: Any, name: str) -> Any:
        """Applies a kernel of one row and one of one column side by side."""
        row, column = self.convolve(x, 384, (1, 3), f"{name}_row"), self.convolve(x, 384, (3, 1), f"{name}_column")
        return keras.layers.Concatenate()([row, column])
