"""What pixels tell against a volume: nothing on it, values that cannot be, slices that do not follow each other."""

import hashlib

import numpy as np

from radkit.dicom import likeness, neighbours
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

_ENOUGH = 16  # pixels of a side: of smaller images nothing is said but that they are constant or the same twice
_FEW_VALUES = 8  # an image of no more is a drawing, a mask
_SAMPLE = 96  # slices, and three times as many rows and columns, at most
_NOISE = 0.1  # correlation of pixels that lie beside each other; of clinical images above 0.8
_NO_PLACE = "no ImagePositionPatient"


def digest(volume: Volume) -> str:
    """Returns a text that two volumes of the same modality values share, whatever their headers and pixel types.

    The job that sees all series finds the same image twice by it.
    """
    found = hashlib.blake2b(str(volume.stored.shape).encode(), digest_size=16)
    for stored, slope, intercept in zip(volume.stored, volume.slope, volume.intercept):
        # Adding 0 makes -0 and 0 the same.
        found.update(np.ascontiguousarray(stored.astype(np.float32) * slope + intercept + np.float32(0)).tobytes())
    return found.hexdigest()


def of_volume(volume: Volume) -> list[Finding]:
    """Returns what the pixels of a volume tell against it; nothing of a sound one.

    Headers are `curate`'s. Images of fewer than 16 pixels a side are asked only whether anything is on them.
    """
    stored = volume.stored
    if not stored.size or stored.min() == stored.max():
        return [Finding("constant_image", "all pixels have the same value")]
    if stored.ndim > 3:
        return []
    findings = _constant(stored) + neighbours.repeated(stored)
    if min(stored.shape[1:]) < _ENOUGH:
        return findings
    sample = _sample(volume)
    low, high = np.percentile(sample.values, (0.5, 99.5))
    if len(np.unique(sample.values)) <= _FEW_VALUES:
        return [*findings, Finding("drawn", "the image has few different values: a mask or a drawing")]
    findings += likeness.of_sample(sample) + _noise(volume)
    if len(stored) >= neighbours.LEAST and not any(said.startswith(_NO_PLACE) for said in volume.findings):
        order = neighbours.of_slices(_thumbs(volume, float(low), float(high)))
        findings += order
    return findings


def _constant(stored: np.ndarray) -> list[Finding]:
    """Finds empty slices between others; those at the ends are normal where a volume was turned or registered."""
    empty = np.array([one.min() == one.max() for one in stored])
    full = np.flatnonzero(~empty)
    inside = int(empty[full[0] : full[-1]].sum()) if full.size else 0
    if not inside:
        return []
    return [Finding("constant_slices", f"{inside} slices between others are of one value")]


def _sample(volume: Volume) -> likeness.Sample:
    shape, most = volume.stored.shape, (_SAMPLE, 3 * _SAMPLE, 3 * _SAMPLE)
    thin = tuple(slice(None, None, -(-side // limit)) for side, limit in zip(shape, most))
    slope, intercept = (scale[thin[0], None, None] for scale in (volume.slope, volume.intercept))
    stored = volume.stored[thin]
    values = stored.astype(np.float32) * slope + intercept
    borders = [np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]]
    edge = np.concatenate([values[border].ravel() for border in borders])
    if volume.padding is not None:
        raw = np.concatenate([stored[border].ravel() for border in borders])
        edge = edge[(raw < volume.padding[0]) | (raw > volume.padding[1])]
    if volume.meta["Modality"] == "CT":
        edge = edge[edge > -1500]
    said = {name: volume.meta.get(name, "").upper() for name in ("Modality", "BodyPartExamined", "ImageType")}
    return likeness.Sample(values, edge, said["Modality"], said["BodyPartExamined"], said["ImageType"])


def _noise(volume: Volume) -> list[Finding]:
    """Finds images without anything that two pixels beside each other have in common."""
    kind = volume.meta.get("ImageType", "").upper().split("\\")
    if "P" in kind or "PHASE" in kind or "PHASE MAP" in kind:  # phase wraps
        return []
    middle = volume.stored[len(volume.stored) // 2].astype(np.float64)
    left, right = middle[:, :-1].ravel(), middle[:, 1:].ravel()
    if not (left.std() and right.std()):
        return []
    alike = float(np.corrcoef(left, right)[0, 1])
    if alike >= _NOISE:
        return []
    return [Finding("noisy", f"pixels beside each other have little in common (correlation {alike:.2f})")]


def _thumbs(volume: Volume, low: float, high: float) -> np.ndarray:
    """Returns small modality values between two limits."""
    stored = volume.stored
    slope, intercept = float(volume.slope[0]), float(volume.intercept[0])
    if (volume.slope == slope).all() and (volume.intercept == intercept).all():
        ends = sorted(((low - intercept) / slope, (high - intercept) / slope))
        return neighbours.thumbs(stored, *ends)
    return neighbours.thumbs(volume.array, low, high)
