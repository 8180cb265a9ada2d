"""Whether two images are one: laid on each other by their places, moved until they fit, and compared voxel by voxel."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import ndimage

from radkit.data.leakage.keypoints import Keypoints

# Places that agree times the share that correlates. Of copies, however treated, it was 6 and more; of different
# patients' images 2 and less (docs/leakage.md, "What was measured").
LEAST_SCORE = 6.0
_LEAST_COPIED = 5  # agreeing places, whatever their share

_MATCHES = 64  # of two images' places, those that are most alike
_TOLERANCE = 4.0  # voxels of a thumbnail within which a place is where it should be, before the images are moved
_OCTAVE = 0.6  # how far a place's scale may be from what the whole map says, in octaves
_MOST_PAIRS = 400
_MOST_TRIPLES = 3000
_LEAST_AGREEING = {2: 6, 3: 6}
_SCALES = (0.4, 2.5)  # of one image to the other, beyond which nothing is laid on
# By rank: standard deviation of what smooths both images, voxels, and each how manieth voxel is compared.
_COARSE = {2: (3.0, 3), 3: (1.5, 3)}
_FINE = {2: (1.2, 2), 3: (0.8, 2)}
_LEAST_GAIN = 2e-3
_ROUNDS = 12
_LEAST_OVERLAP = 0.35  # of the smaller image
_LEAST_WEIGHT = 0.02
_DAMPING = 1e-4
_NEIGHBOURHOOD = {2: 6.0, 3: 3.0}  # of a local correlation: standard deviation, voxels of a thumbnail
_NO_CONTRAST = 0.01  # variance of a levelled, smoothed image below which there is nothing to compare
_SHOWN = {2: 2.0, 3: 1.0}  # what smooths both before they are compared, so that noise and JPEG count less
_HIGH = 0.8
_LEAST_SHOWN = 0.05  # of an image, which must have contrast at all
_CLOSE, _SHARP = 1.0, 3.0  # voxels for a place of this scale; in proportion for larger ones
_CLOSE_OCTAVE = 0.35
_ALIKE = 0.8


@dataclass(frozen=True)
class Fit:
    """How one image lies on another.

    Attributes:
        matrix: (rank, rank + 1): where in the other image a voxel of this one is.
        likeness: Correlation where both are alike at all, -1 (inverted) to 1: what the moving went by.
        overlap: Share of this image on which the other lies.
        agreeing: Places that are where the map puts them, and look and are sized alike.
        share: Of what both show, how much correlates above 0.8 in its own neighbourhood.
    """

    matrix: np.ndarray
    likeness: float = 0.0
    overlap: float = 0.0
    agreeing: int = 0
    share: float = 0.0

    @property
    def score(self) -> float:
        """How sure it is that both are one image; see `LEAST_SCORE`."""
        return self.agreeing * self.share

    @property
    def is_copy(self) -> bool:
        """Whether both show one image."""
        return self.score >= LEAST_SCORE and self.agreeing >= _LEAST_COPIED


def fit(image: np.ndarray, other: np.ndarray, here: Keypoints, there: Keypoints) -> Fit | None:
    """Returns how `other` lies on `image`; None where their places do not agree on any map.

    Args:
        image: Levelled thumbnail.
        other: Levelled thumbnail, of any size.
        here: Places of `image`.
        there: Places of `other`.
    """
    start = by_places(here, there)
    if start is None:
        return None
    found = refined(image, other, start, coarse=True)
    if _agreeing_closely(found.matrix, here, there, 2 * _CLOSE) < _LEAST_COPIED:
        return found
    found = refined(image, other, found.matrix, coarse=False)
    agreeing = _agreeing_closely(found.matrix, here, there, _CLOSE)
    if agreeing < _LEAST_COPIED:
        return found
    return replace(found, agreeing=agreeing, share=_share(image, other, found))


def _agreeing_closely(matrix: np.ndarray, here: Keypoints, there: Keypoints, close: float) -> int:
    rank = len(matrix)
    expected = here.places @ matrix[:, :rank].T + matrix[:, rank]
    scales = here.scales * _scale(matrix) ** (1 / rank)
    away = np.linalg.norm(expected[:, None] - there.places, axis=-1) / np.maximum(1, here.scales / _SHARP)[:, None]
    sized = np.abs(np.log2(there.scales / scales[:, None]))
    looks = here.descriptors.astype(np.float32) @ there.descriptors.astype(np.float32).T
    hit = (away < close) & (sized < _CLOSE_OCTAVE) & (looks > _ALIKE)
    return int(min(hit.any(1).sum(), hit.any(0).sum()))


def _share(image: np.ndarray, other: np.ndarray, found: Fit) -> float:
    smoothing = _SHOWN[image.ndim]
    fixed = ndimage.gaussian_filter(image, smoothing, mode="nearest", truncate=3)
    moving = ndimage.gaussian_filter(other, smoothing, mode="nearest", truncate=3)
    grid = np.indices(image.shape).reshape(image.ndim, -1)
    points = found.matrix[:, :-1] @ grid + found.matrix[:, -1:]
    inside = ((points >= 0) & (points <= np.array(moving.shape)[:, None] - 1)).all(0).reshape(image.shape)
    laid = ndimage.map_coordinates(moving, points, order=1, mode="nearest").reshape(image.shape)
    local = np.copysign(1.0, found.likeness) * local_likeness(fixed, laid, inside)
    shown = local[inside & (local != 0)]
    return float(np.mean(shown > _HIGH)) if shown.size > _LEAST_SHOWN * image.size else 0.0


def by_places(here: Keypoints, there: Keypoints) -> np.ndarray | None:
    """Returns the map on which most places agree, (rank, rank + 1)."""
    rank = here.places.shape[1]
    if min(len(here.places), len(there.places)) < _LEAST_AGREEING[rank] or there.places.shape[1] != rank:
        return None
    first, second = _matches(here, there)
    a, b = here.places[first].astype(np.float64), there.places[second].astype(np.float64)
    ratio = np.log2(there.scales[second] / here.scales[first])
    maps = _turned(a, b, ratio) if rank == 2 else _turned_in_space(a, b, ratio)
    if not len(maps):
        return None
    counts, inside = _agreeing(maps, a, b, ratio)
    best = int(np.argmax(counts))
    return _least_squares(maps[best], a, b, inside[best]) if counts[best] >= _LEAST_AGREEING[rank] else None


def _matches(here: Keypoints, there: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    likeness = here.descriptors.astype(np.float32) @ there.descriptors.astype(np.float32).T
    first = np.r_[np.arange(len(likeness)), likeness.argmax(0)]
    second = np.r_[likeness.argmax(1), np.arange(likeness.shape[1])]
    pairs = np.unique(first * likeness.shape[1] + second)
    first, second = pairs // likeness.shape[1], pairs % likeness.shape[1]
    order = np.argsort(-likeness[first, second], kind="stable")[: 2 * _MATCHES]
    return first[order], second[order]


def _turned(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Returns the maps, (maps, 2, 3), that turn, mirror, scale and shift two places onto their partners."""
    i, j = np.triu_indices(min(len(a), _MATCHES), 1)
    here, there = a @ (1j, 1), b @ (1j, 1)
    way, goal = here[i] - here[j], there[i] - there[j]
    keep = (np.abs(way) > 2 * _TOLERANCE) & (np.abs(goal) > 2 * _TOLERANCE)
    i, j, way, goal = i[keep], j[keep], way[keep], goal[keep]
    size = np.log2(np.abs(goal) / np.abs(way))
    keep = (np.abs(size - ratio[i]) < _OCTAVE) & (np.abs(size - ratio[j]) < _OCTAVE)
    i, j, way, goal = i[keep], j[keep], way[keep], goal[keep]
    first = np.argsort(i + j, kind="stable")[:_MOST_PAIRS]  # those that look most alike
    i, way, goal = i[first], way[first], goal[first]
    maps = []
    for mirrored in (False, True):
        turn = goal / (way.conj() if mirrored else way)
        shift = there[i] - turn * (here[i].conj() if mirrored else here[i])
        # z = column + 1j * row; mirrored: the row's sign is turned first.
        sign = -1 if mirrored else 1
        maps.append(_matrices(turn, shift, sign))
    return np.concatenate(maps)


def _matrices(turn: np.ndarray, shift: np.ndarray, sign: int) -> np.ndarray:
    row = np.stack([sign * turn.real, turn.imag, shift.imag], -1)
    column = np.stack([-sign * turn.imag, turn.real, shift.real], -1)
    return np.stack([row, column], 1)


def _turned_in_space(a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Returns the maps, (maps, 3, 4), that turn, mirror, scale and shift three places onto their partners."""
    triples = np.array(list(combinations(range(min(len(a), _MATCHES)), 3)))
    far = np.stack([_side(a, triples, *ends) for ends in ((0, 1), (1, 2), (0, 2))])
    goal = np.stack([_side(b, triples, *ends) for ends in ((0, 1), (1, 2), (0, 2))])
    size = np.log2(np.maximum(goal, 1e-6) / np.maximum(far, 1e-6))
    middle = size.mean(0)
    keep = (far.min(0) > 2 * _TOLERANCE) & (np.ptp(size, axis=0) < 0.25)
    keep &= (np.abs(ratio[triples] - middle[:, None]) < _OCTAVE).all(1)
    triples, middle = triples[keep], middle[keep]
    step = max(1, -(-len(triples) // _MOST_TRIPLES))
    triples, middle = triples[::step], middle[::step]
    p, q = a[triples], b[triples]
    turns = _frames(q) @ np.swapaxes(_frames(p), 1, 2)
    mirror = np.eye(3) * (1, 1, -1)
    mirrored = _frames(q) @ mirror @ np.swapaxes(_frames(p), 1, 2)
    maps = []
    for turn in (turns, mirrored):
        linear = turn * 2 ** middle[:, None, None]
        shift = q.mean(1) - np.einsum("nij,nj->ni", linear, p.mean(1))
        maps.append(np.concatenate([linear, shift[..., None]], 2))
    return np.concatenate(maps)


def _side(places: np.ndarray, triples: np.ndarray, one: int, two: int) -> np.ndarray:
    return np.linalg.norm(places[triples[:, one]] - places[triples[:, two]], axis=1)


def _frames(corners: np.ndarray) -> np.ndarray:
    """Returns right-angled axes of triangles, as columns, (triangles, 3, 3)."""
    along = corners[:, 1] - corners[:, 0]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    upright = np.cross(along, corners[:, 2] - corners[:, 0])
    upright /= np.maximum(np.linalg.norm(upright, axis=1, keepdims=True), 1e-9)
    return np.stack([along, np.cross(upright, along), upright], -1)


def _agreeing(maps: np.ndarray, a: np.ndarray, b: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many places agree with each map, each place counted once, and which matches do."""
    rank = a.shape[1]
    size = np.log2(np.maximum(np.abs(np.linalg.det(maps[..., :rank])), 1e-9)) / rank
    near = np.abs(size[:, None] - ratio) < _OCTAVE
    for axis in range(rank):
        moved = maps[:, axis, :rank] @ a.T + maps[:, axis, rank:]
        near &= np.abs(moved - b[:, axis]) < _TOLERANCE
    counts = np.minimum(_distinct(near, a), _distinct(near, b))
    return np.where(np.abs(size) <= np.log2(_SCALES[1]), counts, 0), near


def _distinct(near: np.ndarray, places: np.ndarray) -> np.ndarray:
    # Matches of one neighbourhood say one thing only.
    _, which = np.unique(np.round(places / (2 * _TOLERANCE)), axis=0, return_inverse=True)
    held = np.zeros((len(near), which.max() + 1), bool)
    for match, spot in enumerate(which.ravel()):
        held[:, spot] |= near[:, match]
    return held.sum(1)


def _least_squares(start: np.ndarray, a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the affine map through the places that agree, held near the one that they agreed on."""
    rank = a.shape[1]
    here = np.c_[a[inside], np.ones(inside.sum())]
    rest = b[inside] - here @ start.T
    weight = np.diag([*[30.0**2] * rank, 1.0])  # a change of shape must be borne out by many places
    return start + np.linalg.solve(here.T @ here + weight, here.T @ rest).T


def refined(image: np.ndarray, other: np.ndarray, matrix: np.ndarray, *, coarse: bool) -> Fit:
    """Returns the fit after moving the map, by Gauss and Newton, to where the images are most alike.

    Args:
        image: Levelled thumbnail.
        other: Levelled thumbnail.
        matrix: (rank, rank + 1), where to begin.
        coarse: Whether to look at what is large only, from further away.
    """
    smoothing, thinning = (_COARSE if coarse else _FINE)[image.ndim]
    fixed = ndimage.gaussian_filter(image, smoothing, mode="nearest", truncate=3)
    moving = ndimage.gaussian_filter(other, smoothing, mode="nearest", truncate=3)
    return _descended(fixed, moving, thinning, matrix)


def _descended(fixed: np.ndarray, moving: np.ndarray, thinning: int, matrix: np.ndarray) -> Fit:
    slopes = np.stack(np.gradient(moving))
    whole = moving.size / fixed.size
    fixed = fixed[(slice(None, None, thinning),) * fixed.ndim]
    grid = thinning * np.indices(fixed.shape).reshape(fixed.ndim, -1).astype(np.float64)
    best, weights = Fit(matrix), None
    for _ in range(_ROUNDS):
        laid = _laid(moving, slopes, grid, matrix)
        # Of the smaller of the two: a crop lies wholly inside of what it was cut from.
        if laid.inside.mean() < _LEAST_OVERLAP * min(1.0, whole / max(_scale(matrix), 1e-9)):
            break
        if weights is None:
            # What is in one image only (its edge, padding, a mark) must not pull.
            local = local_likeness(fixed, laid.values.reshape(fixed.shape), laid.inside.reshape(fixed.shape), thinning)
            weights = np.clip(np.copysign(1.0, local.mean()) * local, _LEAST_WEIGHT, 1).ravel()
        likeness, step = _step(fixed.ravel(), laid, grid, weights, matrix)
        gain = abs(likeness) - abs(best.likeness)
        if gain > 0:
            best = Fit(matrix, likeness, float(laid.inside.mean()))
        if gain < _LEAST_GAIN:
            break
        matrix = matrix + step
    return best


@dataclass(frozen=True)
class _Laid:
    """The other image as it lies on this one: values, slopes, and whether it reaches there, by voxel."""

    values: np.ndarray
    slopes: np.ndarray
    inside: np.ndarray


def _laid(moving: np.ndarray, slopes: np.ndarray, grid: np.ndarray, matrix: np.ndarray) -> _Laid:
    rank = len(grid)
    points = matrix[:, :rank] @ grid + matrix[:, rank:]
    inside = ((points >= 0) & (points <= np.array(moving.shape)[:, None] - 1)).all(0)
    values = np.zeros(grid.shape[1])
    pull = np.zeros((rank, grid.shape[1]))
    values[inside] = ndimage.map_coordinates(moving, points[:, inside], order=1)
    for axis in range(rank):
        pull[axis, inside] = ndimage.map_coordinates(slopes[axis], points[:, inside], order=1)
    return _Laid(values, pull, inside)


def _scale(matrix: np.ndarray) -> float:
    return float(abs(np.linalg.det(matrix[:, :-1])))


def local_likeness(fixed: np.ndarray, laid: np.ndarray, inside: np.ndarray, thinning: int = 1) -> np.ndarray:
    """Returns the correlation of two images around each voxel, 0 where one of them has no contrast.

    Args:
        fixed: An image.
        laid: The other, laid on it.
        inside: Where it lies.
        thinning: How manieth voxel of a thumbnail is here.
    """
    reach = _NEIGHBOURHOOD[fixed.ndim] / thinning

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(np.where(inside, values, 0), reach, mode="constant", truncate=2) / share

    share = np.ones(fixed.shape)
    share = np.maximum(mean(share), 1e-3)
    a, b = mean(fixed), mean(laid)
    of_a, of_b = mean(fixed**2) - a**2, mean(laid**2) - b**2
    known = inside & (of_a > _NO_CONTRAST) & (of_b > _NO_CONTRAST)
    together = mean(fixed * laid) - a * b
    return np.where(known, together / np.sqrt(np.maximum(of_a * of_b, 1e-12)), 0)


def _step(
    target: np.ndarray, laid: _Laid, grid: np.ndarray, weights: np.ndarray, matrix: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns the likeness at a map, and the change of the map that should raise it."""
    weight = weights[laid.inside]
    total = weight.sum()
    a, b = target[laid.inside], laid.values[laid.inside]
    a, b = a - weight @ a / total, b - weight @ b / total
    sizes = np.sqrt(weight @ a**2), np.sqrt(weight @ b**2)
    if min(sizes) < 1e-6:
        return 0.0, np.zeros_like(matrix)
    likeness = float(weight @ (a * b) / (sizes[0] * sizes[1]))
    rest = np.copysign(1.0, likeness) * a * (sizes[1] / sizes[0]) - b
    here = np.r_[grid[:, laid.inside], np.ones((1, len(a)))]
    steepest = (laid.slopes[:, None, laid.inside] * here).reshape(matrix.size, -1)
    weighted = steepest * weight
    square = weighted @ steepest.T
    square += _DAMPING * np.diag(np.diag(square)) + 1e-9 * np.eye(len(square))
    return likeness, np.linalg.solve(square, weighted @ rest).reshape(matrix.shape)
