"""Masks that fit their image worse than a data set's others fit theirs: flipped, shifted, or of another case.

Nobody says what a good fit is: a data set's own masks do, and the same masks turned over or moved on purpose.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy import ndimage

from radkit.dicom.findings import Finding

# A case's figures, by how its mask lies: as drawn, and as it was turned or moved; plain values for JSON.
Tries = Mapping[str, Mapping[str, float]]

AS_DRAWN = "as drawn"
CASES = 20  # of fewer none is known to be the odd one
_MOST = (40, 160, 160)  # voxels of a side: larger images are thinned out
_LEAST_VOXELS = 20
_MARGIN = 6  # voxels about a mask that tell whether it fits
_MOVED = 0.3  # of the mask's extent
# Voxels from the border, inside positive: for each layer the mean, the spread and the steepness.
_LAYERS = ((3.0, np.inf), (1.5, 3.0), (0.0, 1.5), (-1.5, 0.0), (-3.0, -1.5), (-6.0, -3.0))
_AXES = ("slices", "rows", "columns")
_FOLDS = 10
_RIDGE = 2.0  # of figures in robust deviations: few cases do not make their covariance singular
_CLIP = 6.0  # robust deviations
_MOST_CASES = 2000  # that are learnt from
# Tuned on every second of 177 hippocampi, 61 pairs of lungs and 176 left ventricles. A case is told of that is so many
# deviations off, and whose mask does not fit clearly worse once turned or moved; or that is very far off.
_LEAST_OFF, _ROOM, _BY_CHANCE = 4.0, 0.3, 5.0
_FAR, _TIMES = 6.0, 1.8
_VERY_FAR, _MANY_TIMES, _VERY_RATIO = 10.0, 3.5, -0.1
_USUAL = 95  # percentile of the cases


def tries(values: np.ndarray, inside: np.ndarray) -> dict[str, dict[str, float]]:
    """Returns how a mask fits its image as drawn, and as it does turned over and moved: what `found` learns from.

    Args:
        values: (slices, rows, columns).
        inside: The mask, bool, of the same shape; all structures together.

    Returns:
        Figures by how it lies; empty of a mask too small to judge.
    """
    thin = tuple(slice(None, None, -(-side // most)) for side, most in zip(values.shape, _MOST))
    values, inside = np.asarray(values[thin], np.float32), inside[thin]
    if inside.sum() < _LEAST_VOXELS or inside.all():
        return {}
    low, high = np.percentile(values, (1, 99))
    values = np.clip(values, low, high)
    values = (values - values.mean()) / max(float(values.std()), 1e-6)
    smooth = ndimage.gaussian_filter(values, (0, 1, 1))
    steep = np.hypot(ndimage.sobel(smooth, 1), ndimage.sobel(smooth, 2))
    told = {AS_DRAWN: _figures(values, steep, inside)}
    return told | {
        name: _figures(values, steep, other) for name, other in _others(inside) if other.sum() >= _LEAST_VOXELS
    }


def _others(inside: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the mask turned over, and moved by a part of its extent."""
    axes = _long(inside)
    for axis in axes:
        yield f"with its {_AXES[axis]} turned", np.flip(inside, axis)
    yield "turned by half a circle", np.flip(inside, tuple(axes[-2:]))
    for axis in axes:
        lies = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        steps = max(2, round(_MOVED * (lies[-1] - lies[0] + 1)))
        for sign in (-1, 1):
            moved = np.roll(inside, sign * steps, axis)
            edge = [slice(None)] * 3
            edge[axis] = slice(None, steps) if sign > 0 else slice(-steps, None)
            moved[tuple(edge)] = False
            yield f"moved {'back' if sign < 0 else 'on'} along its {_AXES[axis]}", moved


def _long(inside: np.ndarray) -> list[int]:
    return [axis for axis in range(3) if inside.shape[axis] > 2]


def _figures(values: np.ndarray, steep: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Returns where a mask lies, its form, and what the image has in and about it."""
    axes = _long(inside)
    told, middle, spread = _form(inside, axes)
    around = ndimage.find_objects(inside.astype(np.uint8))[0]
    cut = tuple(slice(max(0, one.start - _MARGIN), one.stop + _MARGIN) for one in around)
    mask, image, edges = inside[cut], values[cut], steep[cut]
    depth = _depth(mask)
    near = depth > -_MARGIN - 0.5
    mean, scale = float(image[near].mean()), max(float(image[near].std()), 1e-3)
    steepness = max(float(edges[near].mean()), 1e-6)
    told |= {"bright": mean, "spread": float(np.log(scale))}
    for number, (least, most) in enumerate(_LAYERS):
        layer = (depth > least) & (depth <= most)
        some = bool(layer.any())
        told[f"mean {number}"] = float((image[layer].mean() - mean) / scale) if some else 0.0
        told[f"spread {number}"] = float(image[layer].std() / scale) if some else 1.0
        told[f"steep {number}"] = float(edges[layer].mean() / steepness) if some else 1.0
    outside = (depth <= 0) & (depth > 1 - _MARGIN)
    for axis in axes[-2:]:
        away = np.arange(mask.shape[axis]) + cut[axis].start - middle[axis]
        for sign in (-1, 1):
            beside = np.expand_dims(sign * away > spread[axis], tuple(a for a in range(3) if a != axis))
            side = outside & beside
            told[f"beside {axis} {sign}"] = float((image[side].mean() - mean) / scale) if side.any() else 0.0
    return {name: round(value, 4) for name, value in told.items()}


def _form(inside: np.ndarray, axes: list[int]) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Returns a mask's moments up to the third, its middle and its standard deviations (voxels)."""
    places = np.argwhere(inside).astype(np.float64)
    middle = places.mean(axis=0)
    off = places - middle
    spread = np.maximum(off.std(axis=0), 0.5)
    off /= spread
    told = {}
    for axis in axes:
        told[f"place {axis}"] = float((middle[axis] + 0.5) / inside.shape[axis])
        told[f"size {axis}"] = float(np.log(spread[axis]))
        told[f"skew {axis}"] = float((off[:, axis] ** 3).mean())
        for other in (a for a in axes if a != axis):
            told[f"bend {axis} {other}"] = float((off[:, axis] ** 2 * off[:, other]).mean())
            if other > axis:
                told[f"lean {axis} {other}"] = float((off[:, axis] * off[:, other]).mean())
    return told, middle, spread


def _depth(mask: np.ndarray) -> np.ndarray:
    """Returns the distance from the border within each slice, voxels; inside positive, -99 in slices without mask."""
    within = (1e4, 1, 1)  # slices lie too far apart to count
    depth = ndimage.distance_transform_edt(np.pad(mask, ((0, 0), (1, 1), (1, 1))), within)[:, 1:-1, 1:-1]
    return np.asarray(depth - np.minimum(ndimage.distance_transform_edt(~mask, within), 99))


def found(cases: Mapping[str, Tries]) -> list[tuple[str, Finding]]:
    """Returns the cases whose masks do not fit as the others do, by their identifiers.

    For each way of turning and moving, Fisher's discriminant tells masks as drawn from masks so changed. A case is
    judged by those that were learnt without it: how far it is from masks as drawn, and how far it still is where its
    own mask is turned or moved. A flipped mask is near, once turned back.

    20 cases are needed. Where more than one in 20 is wrong, they count as usual.

    Source: Fisher, The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 1936.

    Args:
        cases: `tries` by what identifies a case.
    """
    held = {uid: case for uid, case in sorted(cases.items()) if AS_DRAWN in case}
    if len(held) < CASES:
        return []
    uids = list(held)
    names = sorted(set.intersection(*(set(case[AS_DRAWN]) for case in held.values())))
    off = _off(list(held.values()), names)
    own = np.array([case[AS_DRAWN] for case in off])
    best = np.array([min((v for k, v in case.items() if k != AS_DRAWN), default=np.inf) for case in off])
    ratio = np.log(np.maximum(own, 1) / np.maximum(best, 1))
    least = _BY_CHANCE / len(held)  # few cases tell less
    limit = max(least, float(np.percentile(ratio, _USUAL)) + _ROOM)
    usual = float(np.percentile(own, _USUAL))
    far, very = own > max(_FAR, _TIMES * usual), own > max(_VERY_FAR, _MANY_TIMES * usual)
    told = (own > _LEAST_OFF) & (ratio > limit) | far & (ratio > least) | very & (ratio > _VERY_RATIO)
    return [(uids[row], _said(off[row], len(uids))) for row in np.flatnonzero(told)]


def _said(off: Mapping[str, float], count: int) -> Finding:
    own = off[AS_DRAWN]
    said = f"the mask fits its image {own:.1f} deviations worse than those of {count} cases do"
    best, way = min(((far, way) for way, far in off.items() if way != AS_DRAWN), default=(np.inf, ""))
    return Finding("unlike_others", f"{said}; {best:.1f} {way}" if best < own else said)


def _off(cases: list[Tries], names: list[str]) -> list[dict[str, float]]:
    """Returns how far each case's tries are from masks as drawn, in robust deviations, by the other folds' cases."""
    fold = np.arange(len(cases)) % _FOLDS
    out: list[dict[str, float]] = [{} for _ in cases]
    for number in range(_FOLDS):
        discriminants = _discriminants([cases[k] for k in np.flatnonzero(fold != number)[:_MOST_CASES]], names)
        for row in np.flatnonzero(fold == number):
            table = np.array([[figures[name] for name in names] for figures in cases[row].values()])
            far = np.max([_apply(one, table) for one in discriminants], axis=0)
            out[row] = dict(zip(cases[row], far.tolist()))
    return out


# Of figures: middle, scale, weights; of what they give: middle, scale.
_Discriminant = tuple[np.ndarray, np.ndarray, np.ndarray, float, float]


def _apply(one: _Discriminant, table: np.ndarray) -> np.ndarray:
    middle, scale, weights, low, deviation = one
    return np.asarray((np.clip((table - middle) / scale, -_CLIP, _CLIP) @ weights - low) / deviation)


def _discriminants(cases: list[Tries], names: list[str]) -> list[_Discriminant]:
    drawn = np.array([[case[AS_DRAWN][name] for name in names] for case in cases])
    middle = np.median(drawn, axis=0)
    away = np.abs(drawn - middle)
    scale = 1.4826 * np.median(away, axis=0)
    scale = np.where(scale > 1e-6, scale, np.maximum(away.mean(axis=0), 1e-6))
    usual = np.clip((drawn - middle) / scale, -_CLIP, _CLIP)
    found = []
    for way in sorted({way for case in cases for way in case} - {AS_DRAWN}):
        changed = np.array([[case[way][name] for name in names] for case in cases if way in case])
        if len(changed) < len(cases) / 2:
            continue
        changed = np.clip((changed - middle) / scale, -_CLIP, _CLIP)
        spread = (np.cov(usual.T) + np.cov(changed.T)) / 2 + _RIDGE * np.eye(len(names))
        weights = np.linalg.solve(spread, changed.mean(axis=0) - usual.mean(axis=0))
        along = usual @ weights
        low = float(np.median(along))
        found.append((middle, scale, weights, low, max(1.4826 * float(np.median(np.abs(along - low))), 1e-6)))
    return found
