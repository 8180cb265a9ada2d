"""Which layers learn, and how fast: patterns of their names."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from re import escape, fullmatch

import keras

from radkit.errors import UserError, did_you_mean
from radkit.models.weights.files import snake_case


def names(network: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers that have weights, by the names that patterns are held against.

    A layer's own name where a person gave it one; a nameless one is called by its kind and its place among those of its
    kind in this network, as `conv2d`, `conv2d_1`: Keras's number depends on what else the process built.
    """
    found: dict[str, keras.layers.Layer] = {}
    for layer in _layers(network):
        if not layer.weights:
            continue
        kind, name = snake_case(type(layer).__name__), layer.name
        if fullmatch(escape(kind) + r"(_\d+)?", name):
            number = sum(1 for known in found if fullmatch(escape(kind) + r"(_\d+)?", known))
            name = f"{kind}_{number}" if number else kind
        found[name] = layer
    return found


def _layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        inner = getattr(layer, "layer", layer)  # of a wrapper, as TimeDistributed
        if isinstance(inner, keras.Model):
            yield from _layers(inner)
        else:
            yield layer


def matching(network: keras.Model, patterns: str | Sequence[str], setting: str) -> dict[str, list[keras.layers.Layer]]:
    """Returns each pattern's layers.

    Args:
        network: Whose layers.
        patterns: Of their names as `names` gives them, with `*` and `?`; one, or several.
        setting: What the message calls them, as `model.freeze`.

    Raises:
        UserError: A pattern matches no layer that has weights, or is none.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise UserError(f"{setting} must be patterns of layers' names, as ('conv1*',), not {patterns!r}")
    known = names(network)
    found = {pattern: [layer for name, layer in known.items() if fnmatchcase(name, pattern)] for pattern in patterns}
    for pattern, layers in found.items():
        if not layers:
            shown = ", ".join(list(known)[:6]) + (", ..." if len(known) > 6 else "")
            raise UserError(
                f"{setting}: {pattern!r} matches no layer of network {network.name!r} that has weights"
                f"{did_you_mean(pattern.strip('*'), known)}; there are: {shown}"
            )
    return found


def freeze(network: keras.Model, patterns: str | Sequence[str], setting: str = "freeze") -> int:
    """Keeps layers' weights as they are; returns how many layers that is.

    A frozen batch normalisation uses its moving statistics in training, too, and does not move them.

    Args:
        network: Whose layers.
        patterns: Of their names, as `("conv1*", "conv2_*")`.
        setting: As `matching`.

    Raises:
        UserError: A pattern matches nothing.
    """
    frozen = set()
    for layers in matching(network, patterns, setting).values():
        for layer in layers:
            layer.trainable = False
            frozen.add(layer.name)
    return len(frozen)


def shares(network: keras.Model, rates: Mapping[str, float]) -> list[float]:
    """Returns each trainable weight's share of the learning rate, in the order of `network.trainable_variables`.

    Args:
        network: Whose weights.
        rates: Pattern of layers' names to a share; where several match a layer, the last one counts; 1 else.

    Raises:
        UserError: A pattern matches nothing.

    Source: discriminative fine-tuning of Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.2.
    """
    found: dict[int, float] = {}
    for pattern, layers in matching(network, list(rates), "optimizer.rates").items():
        for layer in layers:
            found |= {id(variable): float(rates[pattern]) for variable in layer.trainable_variables}
    return [found.get(id(variable), 1.0) for variable in network.trainable_variables]
