"""Weights of a file in a network: layer by layer, what fits, and a report of it."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from radkit.errors import UserError
from radkit.models.weights import files, inflation
from radkit.models.weights.files import Stored
from radkit.models.weights.report import Report, Row, few_lines


def put(
    network: keras.Model,
    stored: Sequence[Stored],
    *,
    source: str,
    channels: inflation.Channels = "sum",
    depth: inflation.Depth = "average",
) -> Report:
    """Gives a network what fits of a file's weights, and returns what did.

    Layers meet by their names, nameless ones by their place among those of their kind; an array of another shape is
    taken where only the image's channels or the third dimension are new, and else its layer stays as it is.

    Args:
        network: Its other weights stay.
        stored: As `files.read` gives them.
        source: What the report calls the file.
        channels: Of the first convolution, see `inflation.channels`.
        depth: Of 2-D kernels in a 3-D network, see `inflation.depth`.

    Raises:
        UserError: Nothing fits.
    """
    with files.own(network) as (own, fill):
        arrays, report = compare(network, own, stored, source, channels, depth)
        if not arrays:
            raise UserError(
                f"nothing of the weights {source} fits network {network.name!r}: "
                f"{few_lines(report.differences(), 4)}; name weights of the same kind of network"
            )
        fill(arrays)
    return report


def load_own(network: keras.Model, path: Path) -> None:
    """Gives a network all weights of a file that was written by just such a network.

    Raises:
        UserError: The network is another one by now; the message lists the layers that differ.
    """
    stored = files.read(path)
    with files.own(network) as (own, _):
        if _same(own, stored):
            network.load_weights(path)
            return
        _, report = compare(network, own, stored, str(path), "sum", "average")
    lines = report.differences() or ["the order of its layers"]
    raise UserError(f"{path} does not fit network {network.name!r}: {few_lines(lines)}")


def _same(own: Sequence[Stored], stored: Sequence[Stored]) -> bool:
    def shape(layers: Sequence[Stored]) -> list[Any]:
        return sorted((one.name, one.paths, tuple(array.shape for array in one.arrays)) for one in layers)

    return shape(own) == shape(stored)


def compare(
    network: keras.Model,
    own: Sequence[Stored],
    stored: Sequence[Stored],
    source: str,
    channels: inflation.Channels,
    depth: inflation.Depth,
) -> tuple[dict[str, np.ndarray], Report]:
    """Returns the arrays that fit, by their places in the network's own file, and the report."""
    pairs = _pairs(own, stored)
    first = _first_layers(network)
    arrays: dict[str, np.ndarray] = {}
    rows, used = [], set()
    for place, layer in enumerate(own):
        given = stored[pairs[place]] if place in pairs else None
        fitted, row = _fitted(layer, given, _sees_image(layer, first, network), channels, depth)
        rows.append(row)
        if fitted is not None:
            used.add(pairs[place])
            arrays.update(zip(layer.paths, fitted))
    unused = tuple(one.name for number, one in enumerate(stored) if number not in used)
    return arrays, Report(source, tuple(rows), unused)


def _fitted(
    layer: Stored, given: Stored | None, first: bool, channels: inflation.Channels, depth: inflation.Depth
) -> tuple[list[np.ndarray] | None, Row]:
    count = sum(array.size for array in layer.arrays)
    if given is None:
        return None, Row(layer.name, "new", "not in the file", count)
    if len(given.arrays) != len(layer.arrays):
        how = f"{len(layer.arrays)} arrays here, {len(given.arrays)} in the file"
        return None, Row(layer.name, "new", how, count)
    fitted, changes = [], []
    for array, wanted in zip(given.arrays, layer.arrays):
        found, how = inflation.fit(array, wanted.shape, first=first, channels_by=channels, depth_by=depth)
        if found is None:
            return None, Row(layer.name, "new", f"{wanted.shape} here, {array.shape} in the file", count)
        fitted.append(found)
        changes += [how] if how else []
    return fitted, Row(layer.name, "adapted" if changes else "loaded", "; ".join(changes), count)


def _pairs(own: Sequence[Stored], stored: Sequence[Stored]) -> dict[int, int]:
    """Returns which of the file's layers each of the network's layers is."""
    names = {one.name: number for number, one in enumerate(stored) if one.named}
    pairs = {place: names[one.name] for place, one in enumerate(own) if one.named and one.name in names}
    for kind in sorted({_flat(one.kind) for one in stored if not one.named}):
        # The file's nameless layers may have names here: those of Keras's Inception, for one.
        mine = [place for place, one in enumerate(own) if place not in pairs and _flat(one.kind) == kind]
        theirs = [place for place, one in enumerate(stored) if not one.named and _flat(one.kind) == kind]
        pairs |= _in_order(own, mine, stored, theirs)
    return pairs


def _in_order(
    own: Sequence[Stored], mine: Sequence[int], stored: Sequence[Stored], theirs: Sequence[int]
) -> dict[int, int]:
    """Pairs nameless layers: by place; where their numbers differ, the longest runs that are alike."""
    if len(mine) == len(theirs):
        return dict(zip(mine, theirs))
    shapes = [_shapes(own[place]) for place in mine], [_shapes(stored[place]) for place in theirs]
    blocks = difflib.SequenceMatcher(None, *shapes, autojunk=False).get_matching_blocks()
    return {mine[a + k]: theirs[b + k] for a, b, size in blocks for k in range(size)}


def _shapes(layer: Stored) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape[-4:] for array in layer.arrays)


def _flat(kind: str) -> str:
    """Conv2D and Conv3D are one kind."""
    return re.sub(r"[123]_?d(?=_|/|$)", "", kind)


def _first_layers(network: keras.Model) -> set[str]:
    """Returns the names of the convolutions that see the image: no other one is before them."""
    reached = {id(tensor) for tensor in network.inputs}
    found = set()
    for layer in network.operations:
        try:
            given, out = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        except (AttributeError, ValueError):  # it was called more than once, or never
            continue
        if not any(id(tensor) in reached for tensor in given):
            continue
        if any(len(variable.shape) >= 4 for variable in getattr(layer, "weights", ())):
            found.add(layer.name)
        else:
            reached |= {id(tensor) for tensor in out}
    return found


def _sees_image(layer: Stored, first: set[str], network: keras.Model) -> bool:
    """Nameless layers are found by their shape: those with the image's number of channels."""
    if layer.named:
        return layer.name in first
    channels = {tensor.shape[-1] for tensor in network.inputs}
    kinds = {re.sub(r"_\d+$", "", name) for name in first}
    return layer.kind in kinds and any(a.ndim >= 4 and a.shape[-2] in channels for a in layer.arrays)
