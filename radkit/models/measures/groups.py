"""A network's layers gathered into the few boxes that a drawing has room for."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from radkit.models.measures import graph

_CONVOLVE = ("Conv", "Deconvolution")
_EDGES = ("PadToMultiple", "CropLike", "CropLikeCoarse", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D")


@dataclass
class Group:
    """Layers that follow each other at one size.

    Attributes:
        sizes: Spatial sizes; empty: vectors.
        channels: Of the last tensor.
        kinds: How many of each kind.
        reads: Numbers of the groups that it reads from.
    """

    sizes: tuple[int | None, ...]
    channels: int
    kinds: dict[str, int] = field(default_factory=dict)
    reads: set[int] = field(default_factory=set)

    def level(self, image: "Group") -> int:
        """Returns how many times, about, it is half as large as the image; vectors are at the level of one voxel."""
        largest, own = (max((size or 1 for size in group.sizes), default=1) for group in (image, self))
        return round(math.log2(largest / own))

    @property
    def convolutions(self) -> int:
        """How many convolutions there are within."""
        return sum(number for kind, number in self.kinds.items() if any(word in kind for word in _CONVOLVE))


def gather(network: Any) -> list[Group]:
    """Returns a network's groups, in order: the first is the image."""
    found = list(graph.calls(network))
    spatial = _last_with_space(found)
    groups: list[Group] = []
    of_tensor: dict[str, int] = {}
    for number, call in enumerate(found):
        read = [of_tensor[name] for name in call.read if name in of_tensor]
        if call.kind in _EDGES and read:  # no box of its own
            of_tensor.update(dict.fromkeys(call.made, read[0]))
            continue
        shape = call.shapes_made[0]
        sizes, channels = tuple(shape[1:-1]), int(shape[-1] or 0)
        at = _place(groups, read, sizes, inside=number < spatial)
        if at is None:
            groups.append(Group(sizes, channels))
            at = len(groups) - 1
        group = groups[at]
        group.kinds[call.kind] = group.kinds.get(call.kind, 0) + 1
        if group.sizes == sizes:
            group.channels = channels
        group.reads |= {one for one in read if one != at}
        of_tensor.update(dict.fromkeys(call.made, at))
    return _without_loops(groups)


def _last_with_space(found: Sequence[graph.Call]) -> int:
    """Returns the number of the last call whose output has a place: vectors before it are gates, not the head."""
    with_space = [n for n, call in enumerate(found) if any((size or 2) > 1 for size in call.shapes_made[0][1:-1])]
    return max(with_space, default=0)


def _place(groups: Sequence[Group], read: Sequence[int], sizes: tuple[int | None, ...], *, inside: bool) -> int | None:
    """Returns the group that a call belongs to, or None when it begins one."""
    if not read:
        return None
    latest = max(read)
    is_vector = all(size == 1 for size in sizes)
    if is_vector and inside:  # a gate: it looks at the whole image and comes back
        return latest
    if groups[latest].sizes == sizes and latest != 0:
        return latest
    beside = len(groups) - 1  # a shortcut or a branch that begins where the last group began
    if beside and groups[beside].sizes == sizes and groups[beside].reads and set(read) <= groups[beside].reads:
        return beside
    return None


def _without_loops(groups: list[Group]) -> list[Group]:
    return [dataclasses.replace(group, reads={n for n in group.reads if n < at}) for at, group in enumerate(groups)]
