"""What all layers around networks share: how they are called, written and read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from radkit.errors import UserError

Network = Callable[..., Any]
_ACTIVATIONS = ("linear", "softmax", "sigmoid")


def answer(network: Network, image: Any) -> Any:
    """Returns a network's answer as in inference; of several (deep supervision) the first, which is the finest."""
    found = network(image, training=False)
    return found[0] if isinstance(found, list | tuple) else found


def check_activation(name: str) -> str:
    """Returns a name that `activate` knows.

    Raises:
        UserError: It is another.
    """
    if name not in _ACTIVATIONS:
        raise UserError(f"activation must be one of {', '.join(_ACTIVATIONS)}, not {name!r}")
    return name


def activate(logits: Any, name: str) -> Any:
    """Returns logits as they are (`linear`), or as probabilities: `softmax` over channels, `sigmoid` of each."""
    return logits if name == "linear" else getattr(keras.ops, name)(logits)


def written(network: Any) -> Any:
    """Returns a network as a layer's `get_config` keeps it."""
    return keras.saving.serialize_keras_object(network)


def read(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns a layer's configuration with the networks of these names made of what `written` kept."""
    made = {name: _made(config[name]) for name in names}
    return {**config, **made}


def _made(kept: Any) -> Any:
    return [_made(one) for one in kept] if isinstance(kept, list) else keras.saving.deserialize_keras_object(kept)


def input_of(networks: Sequence[keras.Model], free: bool) -> Any:
    """Returns the input for one model around networks.

    Args:
        networks: They must agree in rank and channels.
        free: Whether every spatial size is free; else a size is where one of the networks leaves it free, or where
            they differ.

    Raises:
        UserError: They do not agree.
    """
    shapes = [tuple(network.input_shape[1:]) for network in networks]
    if len({(len(shape), shape[-1]) for shape in shapes}) != 1:
        raise UserError(f"networks of one model must take images of one rank and number of channels, not {shapes}")
    sizes = [None if free or len(set(of_axis)) > 1 else of_axis[0] for of_axis in zip(*shapes)][:-1]
    return keras.Input((*sizes, shapes[0][-1]), name="image")


def answer_shape(network: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of `answer`, with the batch."""
    found = network.output_shape
    return tuple(found[0] if isinstance(found, list) or isinstance(found[0], tuple | list) else found)


def require_segmenter(network: keras.Model, who: str) -> None:
    """Refuses a network that does not answer each voxel of its image.

    Raises:
        UserError: It names both shapes.
    """
    image, found = tuple(network.input_shape), answer_shape(network)
    pairs = zip(image[1:-1], found[1:-1])
    if len(image) != len(found) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise UserError(f"{who} must answer each voxel of its image, (sizes, classes); from {image} it makes {found}")


def require_sizes(network: keras.Model, sizes: Sequence[int], who: str) -> None:
    """Refuses a network that takes images of other sizes, or of other axes.

    Raises:
        UserError: It names both.
    """
    own = tuple(network.input_shape[1:-1])
    if len(own) != len(sizes) or any(one is not None and one != size for one, size in zip(own, sizes)):
        raise UserError(f"{who} takes images of {own} voxels, and would be given {tuple(sizes)}; make them the same")


def output_shape(network: keras.Model, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Returns the shape of `answer` to images of a shape."""
    found = network.compute_output_shape(tuple(input_shape))
    first = found[0] if isinstance(found, list) or isinstance(found[0], tuple | list) else found
    return tuple(first)
