"""What nnU-Net makes of a patch: which axes are halved when, how large kernels are, how many features a level has.

Source: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z, supplementary note 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_EDGE = 4  # voxels: no axis is halved below it
_ALIKE = 2.0  # axes whose spacings differ by less are halved together and get kernels of 3
_FIRST_FEATURES, _MOST_FEATURES = 32, {2: 512, 3: 320}
_FIRST_VOXELS = {2: 2048**2, 3: 256**3}  # of the first guess, before it is cut to the images' size
_CONVOLUTIONS = 2  # of a level, on the way down and up


@dataclass(frozen=True)
class Topology:
    """A U-Net for a patch.

    Attributes:
        patch: Voxels that the network sees, every size divisible by its axis's strides.
        strides: Of each level against the one above; the first is 1.
        kernels: Of each level.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]

    @property
    def divisor(self) -> tuple[int, ...]:
        """What each axis's size must divide by."""
        return tuple(math.prod(steps) for steps in zip(*self.strides))

    @property
    def filters(self) -> tuple[int, ...]:
        """Features of each level: 32, doubled level by level up to 512 in 2-D and 320 in 3-D."""
        most = _MOST_FEATURES[len(self.patch)]
        return tuple(min(most, _FIRST_FEATURES * 2**level) for level in range(len(self.strides)))

    def elements(self, num_classes: int) -> int:
        """Returns how many numbers all convolutions of one image give: what its memory goes with."""
        sizes, total = list(self.patch), 0
        last = len(self.strides) - 1
        for level, (step, width) in enumerate(zip(self.strides, self.filters)):
            sizes = [size // one for size, one in zip(sizes, step)]
            # On the way down; and, but at the bottom, on the way up, with the deconvolution and the level's answer.
            channels = _CONVOLUTIONS * width + ((_CONVOLUTIONS + 1) * width + num_classes if level < last else 0)
            total += math.prod(sizes) * channels
        return total


def of_patch(patch: Sequence[int], spacing_mm: Sequence[float]) -> Topology:
    """Returns the network for a patch, which is made larger where its sizes do not divide by the strides.

    An axis is halved while 8 voxels or more are left of it and its spacing is less than twice the finest one's that can
    still be halved; an axis that is left alone with fewer than 12 is not. Kernels are 1 along an axis until its spacing
    is less than twice the finest, then 3; the coarsest level's are 3.

    >>> of_patch((20, 256, 224), (3.0, 0.6, 0.6)).strides
    ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    """
    spacing, sizes = list(spacing_mm), [int(size) for size in patch]
    rank = len(sizes)
    strides, kernels, kernel = [(1,) * rank], [], [1] * rank
    while axes := _halved(sizes, spacing):
        finest = min(spacing)
        kernel = [3 if size == 3 or mm / finest < _ALIKE else 1 for size, mm in zip(kernel, spacing)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in axes else 1 for axis in range(rank)))
        sizes = [-(-size // step) for size, step in zip(sizes, strides[-1])]
        spacing = [mm * step for mm, step in zip(spacing, strides[-1])]
    kernels.append((3,) * rank)
    network = Topology(tuple(int(size) for size in patch), tuple(strides), tuple(kernels))
    whole = tuple(-(-size // by) * by for size, by in zip(network.patch, network.divisor))
    return Topology(whole, network.strides, network.kernels)


def _halved(sizes: Sequence[int], spacing: Sequence[float]) -> set[int]:
    """Returns the axes along which the next level is coarser."""
    large = [axis for axis, size in enumerate(sizes) if size >= 2 * LEAST_EDGE]
    if not large:
        return set()
    finest = min(spacing[axis] for axis in large)
    axes = {axis for axis in large if spacing[axis] / finest < _ALIKE}
    if len(axes) == 1 and sizes[min(axes)] < 3 * LEAST_EDGE:
        return set()
    return axes


def first(spacing_mm: Sequence[float], median_size: Sequence[float]) -> Topology:
    """Returns the network for the largest patch that is thought of: as many mm along each axis, or the whole image.

    >>> first((1.0, 1.0, 1.0), (36, 50, 35)).patch
    (40, 56, 40)
    """
    rank = len(spacing_mm)
    fineness = [1.0 / mm for mm in spacing_mm]
    factor = (_FIRST_VOXELS[rank] / math.prod(fineness)) ** (1.0 / rank)
    patch = [max(1, int(min(round(one * factor), size))) for one, size in zip(fineness, median_size)]
    return of_patch(patch, spacing_mm)


def smaller(network: Topology, spacing_mm: Sequence[float], median_size: Sequence[float]) -> Topology | None:
    """Returns the network for the next smaller patch, or None where there is none.

    The axis that covers most of its median size gives way, by what the smaller patch must divide by: 256 goes to 224
    where 5 halvings are left, not to 192.
    """
    shares = [size / whole for size, whole in zip(network.patch, median_size)]
    axis = max(range(len(shares)), key=lambda n: (shares[n], n))
    tried = list(network.patch)
    tried[axis] -= network.divisor[axis]
    if tried[axis] < 1:
        return None
    patch = list(network.patch)
    patch[axis] -= of_patch(tried, spacing_mm).divisor[axis]
    found = of_patch(patch, spacing_mm)
    return found if math.prod(found.patch) < math.prod(network.patch) else None
