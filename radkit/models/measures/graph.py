"""A network's layers in order, with what each reads and the shapes that it is given: what the measures go through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from radkit.errors import UserError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One call of a layer (or operation).

    Attributes:
        layer: What is called.
        read: Names of the tensors that it reads, in order.
        made: Names of the tensors that it makes.
        shapes_read: Their shapes, batch first.
        shapes_made: Likewise.
    """

    layer: Any
    read: tuple[str, ...]
    made: tuple[str, ...]
    shapes_read: tuple[Shape, ...]
    shapes_made: tuple[Shape, ...]

    @property
    def kind(self) -> str:
        """Its class's name."""
        return type(self.layer).__name__


def calls(network: Any) -> Iterator[Call]:
    """Yields a functional network's calls, each after those whose tensors it reads; networks within it are opened.

    Raises:
        UserError: The network is none of Keras's functional ones, whose graph is known.
    """
    if not isinstance(network, keras.Model) or not hasattr(network, "_nodes_by_depth"):
        raise UserError(f"{type(network).__name__} has no graph to measure; a functional keras.Model was expected")
    yield from _calls(network, "", {}, {})


def _calls(network: Any, prefix: str, known: dict[int, str], sizes: dict[int, Shape]) -> Iterator[Call]:
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            operation = node.operation
            if node.is_input:
                for tensor in node.outputs:
                    known.setdefault(id(tensor), f"{prefix}{tensor.name}")
                if not prefix:
                    yield _call(operation, [], node.outputs, prefix, known, sizes)
            elif isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth"):
                yield from _opened(operation, node, f"{prefix}{operation.name}@{id(node)}/", known, sizes)
            else:
                yield _call(operation, node.input_tensors, node.outputs, prefix, known, sizes)


def _opened(inner: Any, node: Any, prefix: str, known: dict[int, str], sizes: dict[int, Shape]) -> Iterator[Call]:
    """Yields the calls within a network that is called as a layer, once a call of it, each with its own sizes."""
    names, given = dict(known), [sizes.get(id(tensor), tuple(tensor.shape)) for tensor in node.input_tensors]
    for mine, theirs in zip(inner.inputs, node.input_tensors):
        names[id(mine)] = known[id(theirs)]
    inside = [tensor for nodes in inner._nodes_by_depth.values() for one in nodes for tensor in one.outputs]
    asked = [keras.KerasTensor(shape, tensor.dtype) for shape, tensor in zip(given, inner.inputs)]
    made = keras.Function(inner.inputs, inside).compute_output_spec(asked)
    yield from _calls(inner, prefix, names, {id(tensor): tuple(one.shape) for tensor, one in zip(inside, made)})
    for mine, theirs in zip(inner.outputs, node.outputs):
        known[id(theirs)] = names[id(mine)]


def _call(
    operation: Any,
    read: Sequence[Any],
    made: Sequence[Any],
    prefix: str,
    known: dict[int, str],
    sizes: dict[int, Shape],
) -> Call:
    for number, tensor in enumerate(made):
        known[id(tensor)] = known.get(id(tensor)) or f"{prefix}{operation.name}:{number}:{id(tensor)}"
    return Call(
        operation,
        tuple(known[id(tensor)] for tensor in read),
        tuple(known[id(tensor)] for tensor in made),
        tuple(sizes.get(id(tensor), tuple(tensor.shape)) for tensor in read),
        tuple(sizes.get(id(tensor), tuple(tensor.shape)) for tensor in made),
    )


def outputs(network: Any, found: Sequence[Call]) -> list[str]:
    """Returns the names of the network's outputs: what no call reads, or the last made."""
    read = {name for call in found for name in call.read}
    return [name for call in found for name in call.made if name not in read] or [found[-1].made[-1]]
