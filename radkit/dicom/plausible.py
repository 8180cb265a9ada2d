"""Whether a mask lies where its image has something: on the single case, and against the other cases of a data set."""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
from scipy import ndimage

from radkit.dicom import misfits
from radkit.dicom.annotations import form
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# A case's figures by label; plain values, so that they can be written as JSON.
Features = Mapping[str, Mapping[str, float]]

_SMOOTH = 1.0  # voxels
_LEAST_VOXELS = 30  # a smaller mask has no border to judge by
# A turned mask's border must follow edges so much better, and so well at all. A small mask finds some edge by chance.
_BETTER, _FOLLOWS = 1.35, 1.15
_SMALL_BETTER, _SMALL_FOLLOWS, _SMALL_HERE = 2.5, 1.7, 0.7
_LARGE = 0.05  # of the image
_MOST = (64, 400, 400)  # voxels of a side on which edges are looked at: larger images are thinned out
_OUTSIDE = 0.5  # of a mask's voxels in the air around the body
_CASES = 20  # of fewer cases none is known to be the odd one
# Distance from the median case, as a multiple of the median distance: of 177 hippocampi, 61 pairs of lungs and 526 left
# ventricles none lies as far as 3.2.
_FAR = 3.3
_USUAL = 0.95  # share of the cases from which their spread is taken
_RIDGE = 0.15  # of the figures' covariance, so that few cases do not make it singular
_BODY_HU = -500.0
_TRIED = "\t"  # begins the names of what is no label: the whole mask as drawn, turned and moved


def of_mask(volume: Volume, annotation: form.Annotation) -> list[Finding]:
    """Finds masks that lie in the air, or whose border follows the image's edges only once they are turned over.

    One case tells little: a flip that puts a mask on another edge, or a small shift, is not found here; see `outliers`.

    Args:
        volume: The image.
        annotation: Regions on its grid.
    """
    inside = _union(volume, annotation)
    if volume.stored.ndim > 3 or inside is None:
        return []
    values = volume.array
    air = _in_air(values, inside, volume.meta.get("Modality", ""))
    if air > _OUTSIDE:
        return [Finding("implausible_place", f"{air:.0%} of the mask lies in the air around the body")]
    thin = _thin(inside.shape)
    here, best, axes = _turned(_edges(values[thin]), inside[thin])
    large = inside.mean() > _LARGE
    better, follows, most = (_BETTER, _FOLLOWS, np.inf) if large else (_SMALL_BETTER, _SMALL_FOLLOWS, _SMALL_HERE)
    if best < follows or best < better * here or here > most:
        return []
    names = " and ".join(("slices", "rows", "columns")[axis] for axis in axes)
    return [
        Finding(
            "implausible_place",
            f"the mask's border follows edges better ({best:.2f}, {here:.2f}) with its {names} turned",
        )
    ]


def features(volume: Volume, annotation: form.Annotation) -> dict[str, dict[str, float]]:
    """Returns where each label of a case lies in the image, how large it is, and how bright, and how well all fit.

    For `outliers`.

    Args:
        volume: The image.
        annotation: Regions on its grid.
    """
    shape = volume.stored.shape[:3]
    whole = _union(volume, annotation)
    if volume.stored.ndim > 3 or whole is None:
        return {}
    values = volume.array
    mean, spread = float(values.mean()), max(float(values.std()), 1e-6)
    voxel = float(np.nanprod(volume.spacing_mm))
    middle, extent = _middle(whole), _extent(whole)
    thin = _thin(shape)
    edges = _edges(values[thin])
    found = {}
    for label in annotation.labels:
        inside = np.zeros(shape, bool)
        for one in annotation.regions:
            if one.label == label and one.inside.size:
                inside[one.place] |= one.inside
        if not inside.any():
            continue
        one_middle, own = _middle(inside), values[inside]
        here, best, _ = _turned(edges, inside[thin])
        said = {
            "volume": float(np.log(inside.sum() * voxel)),
            "bright": (float(own.mean()) - mean) / spread,
            "spread": float(own.std()) / spread,
            "contrast": (float(own.mean()) - _beside(values, inside)) / spread,
            "edge": here,
            "edge_when_turned": max(float(np.log((best + 0.1) / (here + 0.1))), -0.5),
        }
        for axis, name in enumerate(("slice", "row", "column")):
            if shape[axis] > 1:
                said[f"{name}_place"] = float(one_middle[axis] / shape[axis])
                said[f"{name}_in_mask"] = float((one_middle[axis] - middle[axis]) / extent[axis])
        found[label] = said
    return found | {_TRIED + way: figures for way, figures in misfits.tries(values, whole).items()}


def outliers(cases: Mapping[str, Features]) -> list[tuple[str, Finding]]:
    """Returns the cases whose masks are unlike the others', or fit their images worse, by their identifiers.

    See `misfits.found` for the fit. Of each label, figures are taken together, by their distance from the median case
    (Mahalanobis, robustly scaled): one flipped or shifted mask, or that of another series, stands out among many. 20
    cases of a label are needed.

    Args:
        cases: `features` by what identifies a case.
    """
    tried = {
        uid: {name.removeprefix(_TRIED): figures for name, figures in case.items() if name.startswith(_TRIED)}
        for uid, case in cases.items()
    }
    found = misfits.found(tried)
    known = {uid for uid, _ in found}
    for label in sorted({label for case in cases.values() for label in case if label[:1] != _TRIED}):
        held = {uid: case[label] for uid, case in cases.items() if label in case}
        if len(held) < _CASES:
            continue
        uids = list(held)
        names = sorted(set.intersection(*(set(figures) for figures in held.values())))
        off = _deviations(np.array([[held[uid][name] for name in names] for uid in uids]))
        ratio = _distances(off)
        for row in np.flatnonzero(ratio > _FAR):
            if uids[row] in known:
                continue
            name = names[int(np.abs(off[row]).argmax())].replace("_", " ")
            said = f"the mask lies {ratio[row]:.1f} times as far from the usual as the median of {len(uids)} cases"
            found.append((uids[row], Finding("unlike_others", f"{said}, most by its {name}")))
    return found


def _deviations(table: np.ndarray) -> np.ndarray:
    """Returns how far each figure lies from its column's median, in robust deviations; cases in rows."""
    away = table - np.median(table, axis=0)
    scale = 1.4826 * np.median(np.abs(away), axis=0)
    # Where half of the cases are the same, the mean deviation counts.
    scale = np.where(scale > 1e-9, scale, np.maximum(np.abs(away).mean(axis=0), 1e-9))
    return np.asarray(away / scale)


def _distances(off: np.ndarray) -> np.ndarray:
    """Returns each case's distance from the middle of all, as a multiple of the median distance."""
    # The oddest twentieth does not widen the rest.
    oddest = np.abs(off).max(axis=1)
    held = np.clip(off[oddest <= np.quantile(oddest, _USUAL)], -4, 4)
    weights = np.linalg.inv(np.cov(held.T).reshape(off.shape[1], -1) + _RIDGE * np.eye(off.shape[1]))
    far = np.sqrt(np.einsum("ij,jk,ik->i", off, weights, off))
    return np.asarray(far / max(float(np.median(far)), 1e-9))


def _union(volume: Volume, annotation: form.Annotation) -> np.ndarray | None:
    """Returns all regions as one, or None where they are too few voxels, or nearly all."""
    inside = np.zeros(volume.stored.shape[:3], bool)
    for one in annotation.regions:
        if one.inside.size:
            inside[one.place] |= one.inside
    return inside if _LEAST_VOXELS <= inside.sum() <= 0.9 * inside.size else None


def _thin(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(None, None, -(-side // most)) for side, most in zip(shape, _MOST))


def _turns(inside: np.ndarray) -> Iterable[tuple[int, ...]]:
    """Yields the axes, one to three, along which a mask is another when turned over."""
    long = [axis for axis in range(3) if inside.shape[axis] > 2] if inside.any() else []
    for count in range(1, len(long) + 1):
        for axes in combinations(long, count):
            overlap = (np.flip(inside, axes) & inside).sum() / inside.sum()
            if overlap < 0.95:
                yield axes


def _turned(edges: np.ndarray, inside: np.ndarray) -> tuple[float, float, tuple[int, ...]]:
    """Returns how a mask's border follows edges as it lies, at best when turned over, and along which axes that is."""
    here = _follows(edges, inside)
    best, axes = max(((_follows(edges, np.flip(inside, axes)), axes) for axes in _turns(inside)), default=(0.0, ()))
    return here, best, axes


def _edges(values: np.ndarray) -> np.ndarray:
    """Returns how steep the image is within its slices, robustly scaled."""
    low, high = np.percentile(values[:: max(1, len(values) // 16), ::2, ::2], (1, 99))
    small = ndimage.gaussian_filter(np.clip(values, low, high), (0, _SMOOTH, _SMOOTH))
    return np.hypot(ndimage.sobel(small, 1), ndimage.sobel(small, 2))


def _follows(edges: np.ndarray, inside: np.ndarray) -> float:
    """Returns how much steeper the image is on a mask's border than in the band about it, a ratio; 0 of no mask."""
    if not inside.any():  # lost as the image was thinned out
        return 0.0
    cut = _around(inside, 5)
    mask, steep = inside[cut], edges[cut]
    cross = ndimage.generate_binary_structure(2, 1)[None]
    border = mask & ~ndimage.binary_erosion(mask, cross, border_value=1)
    border |= ndimage.binary_dilation(mask, cross) & ~mask
    band = ndimage.binary_dilation(border, cross, iterations=4) & ~border
    if not border.any() or not band.any():
        return 0.0
    return float(steep[border].mean() / max(float(steep[band].mean()), 1e-9))


def _beside(values: np.ndarray, inside: np.ndarray) -> float:
    """Returns the mean value about a mask, two to four pixels off within its slices."""
    cut = _around(inside, 5)
    cross = ndimage.generate_binary_structure(2, 1)[None]
    near = ndimage.binary_dilation(inside[cut], cross)
    ring = ndimage.binary_dilation(near, cross, iterations=3) & ~near
    return float(values[cut][ring].mean()) if ring.any() else float(values[cut].mean())


def _around(inside: np.ndarray, margin: int) -> tuple[slice, ...]:
    found = ndimage.find_objects(inside.astype(np.uint8))[0]
    return tuple(slice(max(0, one.start - margin), one.stop + margin) for one in found)


def _in_air(values: np.ndarray, inside: np.ndarray, modality: str) -> float:
    """Returns which share of a mask lies in the air around the body; 0 where the image shows none."""
    if modality not in ("CT", "MR"):
        return 0.0
    lies = np.flatnonzero(inside.any(axis=(1, 2)))
    planes, own = values[lies], inside[lies]
    limit = _BODY_HU if modality == "CT" else 0.05 * float(np.percentile(values, 99))
    smooth = ndimage.gaussian_filter(planes, (0, 1, 1))
    body = np.array([ndimage.binary_fill_holes(plane > limit) for plane in smooth])
    return float((own & ~body).sum() / own.sum())


def _middle(inside: np.ndarray) -> np.ndarray:
    return np.array([_mean_index(inside, axis) for axis in range(3)])


def _mean_index(inside: np.ndarray, axis: int) -> float:
    counts = inside.sum(axis=tuple(a for a in range(3) if a != axis))
    return float((counts * (np.arange(len(counts)) + 0.5)).sum() / counts.sum())


def _extent(inside: np.ndarray) -> np.ndarray:
    spans = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return np.array([float(span[-1] - span[0] + 1) for span in spans])
