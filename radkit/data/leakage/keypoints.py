"""Places in an image that are found again in its copy, whatever was done to it, and what surrounds each.

A place is an extremum of the difference of Gaussians in space and scale. What surrounds it is sampled on rings (in
2-D) or shells (in 3-D) in units of its scale, and written in the harmonics of the circle or sphere. Products of the
coefficients of one order on two rings do not change when the image is turned, mirrored or inverted.

Source: scale-space extrema after Lowe 2004, https://doi.org/10.1023/B:VISI.0000029664.99615.94.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MOST = 160  # places of an image that are kept, those of most contrast
_SCALES = 3  # in an octave
_FIRST_SCALE = {2: 1.6, 3: 1.0}  # standard deviation of the first Gaussian, voxels; volumes have few to spare
_LEAST_SIDE = 10  # of an octave
_LEAST_CONTRAST = {2: 0.02, 3: 0.005}
_MOST_ELONGATED = {2: 12.0, 3: 30.0}  # curvatures' ratio from which on a place is an edge, along which it may slide
_RINGS = np.array([1.0, 2.0, 3.2, 4.6, 6.2])  # radii in units of the place's scale
_ORDERS = {2: 7, 3: 4}  # harmonics from order 0 on
_ANGLES = {2: 24, 3: 60}  # samples of a ring, of a shell


@dataclass(frozen=True)
class Keypoints:
    """Places of one image.

    Attributes:
        places: (n, rank) float32, indices into the thumbnail.
        scales: (n,) float32, voxels of the thumbnail.
        descriptors: (n, features) float32, each of length 1.
    """

    places: np.ndarray
    scales: np.ndarray
    descriptors: np.ndarray


def find(image: np.ndarray) -> Keypoints:
    """Returns the places of a levelled thumbnail, those of most contrast first.

    Args:
        image: From `thumbnails.levelled`.
    """
    found = [_in_octave(level, 2.0**number) for number, level in enumerate(_octaves(image))]
    places, scales, contrasts, descriptors = (np.concatenate(part) for part in zip(*found))
    order = np.argsort(-contrasts, kind="stable")[:MOST]
    return Keypoints(places[order], scales[order], descriptors[order])


def _octaves(image: np.ndarray) -> list[np.ndarray]:
    """Returns stacks of ever smoother images, (scales + 3, ...), each octave at half the size of the one before."""
    stacks = []
    first = _FIRST_SCALE[image.ndim]
    base = ndimage.gaussian_filter(image, np.sqrt(first**2 - 0.25), mode="nearest", truncate=3)
    while True:
        levels = [base]
        for number in range(1, _SCALES + 3):
            before, after = (first * 2 ** (n / _SCALES) for n in (number - 1, number))
            extra = np.sqrt(after**2 - before**2)
            levels.append(ndimage.gaussian_filter(levels[-1], extra, mode="nearest", truncate=3))
        stacks.append(np.stack(levels))
        base = levels[_SCALES][(slice(None, None, 2),) * image.ndim]
        if min(base.shape) < _LEAST_SIDE:
            return stacks


Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _in_octave(stack: np.ndarray, voxel: float) -> Found:
    differences = np.diff(stack, axis=0)
    at = _extrema(differences)
    contrast = np.abs(differences[tuple(at.T)])
    at = at[np.argsort(-contrast, kind="stable")[: 2 * MOST]]
    shift = _shift(differences, at)
    fine = at + shift
    keep = _is_blob(differences, at)
    at, fine = at[keep], fine[keep]
    scales = _FIRST_SCALE[at.shape[1] - 1] * 2 ** (fine[:, 0] / _SCALES)
    descriptors = _describe(stack, fine[:, 1:], scales, at[:, 0])
    contrast = np.abs(differences[tuple(at.T)])
    return (fine[:, 1:] * voxel).astype(np.float32), (scales * voxel).astype(np.float32), contrast, descriptors


def _extrema(differences: np.ndarray) -> np.ndarray:
    high = ndimage.maximum_filter(differences, 3, mode="nearest")
    low = ndimage.minimum_filter(differences, 3, mode="nearest")
    is_extreme = ((differences == high) | (differences == low)) & (
        np.abs(differences) > _LEAST_CONTRAST[differences.ndim - 1]
    )
    inside = np.zeros(is_extreme.shape, bool)
    inside[(slice(1, -1),) * inside.ndim] = True
    return np.argwhere(is_extreme & inside)


def _shift(differences: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the way from each voxel to the top of the parabola through it and its neighbours, axis by axis."""
    shift = np.zeros(at.shape)
    for axis in range(at.shape[1]):
        step = np.eye(at.shape[1], dtype=int)[axis]
        before, here, after = (differences[tuple((at + n * step).T)] for n in (-1, 0, 1))
        bend = before - 2 * here + after
        shift[:, axis] = np.divide(before - after, 2 * bend, out=np.zeros(len(at)), where=np.abs(bend) > 1e-12)
    return np.clip(shift, -0.5, 0.5)


def _is_blob(differences: np.ndarray, at: np.ndarray) -> np.ndarray:
    rank = at.shape[1] - 1
    steps = np.eye(rank + 1, dtype=int)[1:]
    curvature = np.empty((len(at), rank, rank))
    here = differences[tuple(at.T)]
    for i in range(rank):
        curvature[:, i, i] = _at(differences, at + steps[i]) - 2 * here + _at(differences, at - steps[i])
        for j in range(i):
            mixed = _at(differences, at + steps[i] + steps[j]) + _at(differences, at - steps[i] - steps[j])
            mixed -= _at(differences, at + steps[i] - steps[j]) + _at(differences, at - steps[i] + steps[j])
            curvature[:, i, j] = curvature[:, j, i] = mixed / 4
    bends = np.linalg.eigvalsh(curvature)
    bends = bends * -np.sign(here)[:, None]  # of a top and of a bottom alike: positive
    return (bends.min(1) > 0) & (bends.max(1) < _MOST_ELONGATED[rank] * np.maximum(bends.min(1), 1e-12))


def _at(differences: np.ndarray, places: np.ndarray) -> np.ndarray:
    return differences[tuple(places.T)]


def _describe(stack: np.ndarray, places: np.ndarray, scales: np.ndarray, levels: np.ndarray) -> np.ndarray:
    rank = places.shape[1]
    directions = _directions(rank)
    rings = np.empty((len(places), len(_RINGS), len(directions)), np.float32)
    for level in np.unique(levels):
        of_level = levels == level
        radii = scales[of_level, None, None, None] * _RINGS[:, None, None]
        points = places[of_level, None, None] + radii * directions
        rings[of_level] = ndimage.map_coordinates(stack[level], np.moveaxis(points, -1, 0), order=1, mode="nearest")
    rings -= rings.mean(axis=(1, 2), keepdims=True)
    return _products(rings, rank)


def _directions(rank: int) -> np.ndarray:
    """Returns points spread evenly over the circle or, on Fibonacci's spiral, over the sphere: (points, rank)."""
    count = _ANGLES[rank]
    if rank == 2:
        angle = 2 * np.pi * np.arange(count) / count
        return np.stack([np.sin(angle), np.cos(angle)], -1)
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.stack([height, across * np.sin(angle), across * np.cos(angle)], -1)


def _products(rings: np.ndarray, rank: int) -> np.ndarray:
    """Returns what of rings does not depend on how they are turned, mirrored or inverted: (places, features)."""
    pairs = np.triu_indices(len(_RINGS))
    features = []
    for harmonic in _harmonics(rank):
        coefficients = rings @ harmonic  # (places, rings, functions of this order)
        products = np.einsum("nif,njf->nij", coefficients, coefficients)
        features.append(products[:, pairs[0], pairs[1]])
    found = np.concatenate(features, 1)
    found = np.sign(found) * np.sqrt(np.abs(found))
    return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _harmonics(rank: int) -> list[np.ndarray]:
    """Returns what turns samples into coefficients, by order: (samples, functions of this order) each."""
    directions = _directions(rank)
    if rank == 2:
        angle = 2 * np.pi * np.arange(len(directions)) / len(directions)
        waves = [np.stack([np.cos(m * angle), np.sin(m * angle)], -1) for m in range(_ORDERS[2])]
        return [(wave / len(directions)).astype(np.float32) for wave in waves]
    orders, count = [], 0
    # Polynomials of one degree, made orthogonal to those of lower ones, span the harmonics of that order.
    basis: list[np.ndarray] = []
    for degree in range(_ORDERS[3]):
        powers = [(i, j, degree - i - j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        polynomials = np.stack([np.prod(directions**p, axis=1) for p in powers], -1)
        for _ in range(2):
            for lower in basis:
                polynomials = polynomials - lower @ (lower.T @ polynomials)
        vectors, sizes, _ = np.linalg.svd(polynomials, full_matrices=False)
        count = 2 * degree + 1
        assert sizes[count - 1] > 1e-3
        basis.append(vectors[:, :count])
        orders.append((vectors[:, :count] / np.sqrt(len(directions))).astype(np.float32))
    return orders
