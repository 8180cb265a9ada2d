"""What losses of masks share: the truth of each class beside the network's probabilities, and which voxels count."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from keras import ops

from radkit.errors import UserError
from radkit.losses import shapes

UNLABELLED = 255  # the mask's value where nobody said what is there: such voxels cost nothing
Activation = Literal["softmax", "sigmoid"]


class Compared(NamedTuple):
    """Truth and answer, (batch, *spatial, classes) float32 each.

    Attributes:
        truth: 1 where the voxel is of the class; 0 where it is not, or unlabelled.
        known: 1 where the voxel is labelled, else 0; (batch, *spatial, 1), or of each class.
        probabilities: Of each class.
        log_probabilities: Their logarithms.
        logits: As float32.
        first: The first channel that is scored: 1 where the first is a background that is left out.
        activation: How logits became probabilities.
    """

    truth: Any
    known: Any
    probabilities: Any
    log_probabilities: Any
    logits: Any
    first: int
    activation: Activation

    @property
    def scored_truth(self) -> Any:
        """The truth of the classes that are scored."""
        return self.truth[..., self.first :]

    @property
    def scored(self) -> Any:
        """The probabilities of the classes that are scored, 0 where the voxel is unlabelled."""
        known = self.known if self.known.shape[-1] == 1 else self.known[..., self.first :]
        return self.probabilities[..., self.first :] * known

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial axes."""
        return tuple(range(1, len(self.logits.shape) - 1))


def compare(mask: Any, logits: Any, activation: Activation = "softmax", background: bool = True) -> Compared:
    """Returns truth and answer side by side.

    Args:
        mask: (batch, *spatial, 1) integers 0 .. classes - 1, 0 being background; or (batch, *spatial, classes), 0 to 1,
            each channel a structure of its own, which may overlap. 255 is unlabelled.
        logits: (batch, *spatial, classes), any float.
        activation: `softmax`: classes exclude each other; `sigmoid`: each stands for itself.
        background: Whether class 0 of a mask of integers is scored.

    Raises:
        UserError: An activation that there is not, or that does not go with one channel; shapes that do not fit.
    """
    logits = ops.cast(logits, "float32")  # float16 would lose the sums, bfloat16 the probabilities near 1
    classes = int(logits.shape[-1])
    mask = ops.convert_to_tensor(mask)
    truth, known, is_named = _truth(mask, classes)
    told = f"mask {tuple(mask.shape)} and logits {tuple(logits.shape)} must have the same axes and sizes, channels last"
    shapes.require_same(truth, logits, told)
    if activation == "softmax":
        if classes == 1:
            raise UserError("softmax of one channel is always 1; set activation='sigmoid', or give the background one")
        log_probabilities = ops.log_softmax(logits, axis=-1)
        probabilities = ops.exp(log_probabilities)
    elif activation == "sigmoid":
        probabilities, log_probabilities = ops.sigmoid(logits), ops.log_sigmoid(logits)
    else:
        raise UserError(f"activation must be 'softmax' or 'sigmoid', not {activation!r}")
    first = int(is_named and not background)
    return Compared(truth, known, probabilities, log_probabilities, logits, first, activation)


def _truth(mask: Any, classes: int) -> tuple[Any, Any, bool]:
    """Returns each class's truth, which voxels are labelled, and whether the mask holds the classes' numbers."""
    if mask.dtype == "bool":
        mask = ops.cast(mask, "uint8")
    channels = int(mask.shape[-1])
    known = ops.cast(ops.not_equal(mask, ops.cast(UNLABELLED, mask.dtype)), "float32")
    if channels == classes:
        return ops.cast(mask, "float32") * known, known, False
    if channels != 1:
        raise UserError(f"a mask of {channels} channels does not go with {classes} classes; give one channel, or all")
    # Unlabelled voxels are of no class: 255 is beyond the last.
    return ops.one_hot(ops.cast(mask[..., 0], "int32"), classes, dtype="float32"), known, True


def quotient(above: Any, below: Any) -> Any:
    """Returns above / below; 1 where nothing is below: what is neither there nor called is right."""
    empty = below <= 0
    return ops.where(empty, 1.0, above / ops.where(empty, 1.0, below))


def class_weights(weights: Sequence[float], classes: int) -> Any:
    """Returns the weights of the scored classes, (classes,) float32.

    Raises:
        UserError: Another number of them, or a negative one.
    """
    if len(weights) != classes or min(weights) < 0:
        raise UserError(f"class_weights must be {classes} numbers from 0 on, one a scored class, not {tuple(weights)}")
    return ops.convert_to_tensor(list(weights), dtype="float32")


def per_example(values: Any, weights: Sequence[float], compared: Compared) -> Any:
    """Returns (batch,): the mean over classes of (batch, classes), or of (1, classes), which is the whole batch's."""
    if len(weights):
        values = values * class_weights(weights, int(values.shape[-1]))
    return for_each(ops.mean(values, axis=-1), compared)


def for_each(values: Any, compared: Compared) -> Any:
    """Returns (batch,) of (batch,) or of (1,): what is the batch's is each example's."""
    return values + ops.zeros((ops.shape(compared.logits)[0],), dtype="float32")
