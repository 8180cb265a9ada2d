"""Whether values are those that the header's modality has: range, grey values the right way round, another modality."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radkit.dicom import chest
from radkit.dicom.findings import Finding

RADIOGRAPHS = ("CR", "DX", "RG")
_CHESTS = ("CHEST", "THORAX")
_LARGEST_HU = 1e5
_AIR_HU, _LOWEST_HU = -850.0, -1500.0  # below the second is padding
_TISSUE_HU = (-200.0, 200.0)
_LEAST_TISSUE = 0.01  # of voxels; a CT of lungs alone has more
_CONTRAST_HU = 150.0  # a CT of more has voxels below -50, if only by noise: fat, air
# Stored values of a CT whose intercept of -1024 was not added: water lies here, and air near 0.
_RAW_WATER, _RAW_AIR, _CT_LIKE = (900.0, 1150.0), 400.0, 0.6
_FLIPPED = 0.4  # by which a radiograph turned upside down scores better than as it is; upright ones gain 0.0 at most
# A single MR slice that looks so much like a chest's radiograph; of 526 of hearts and 50 of heads none exceeds 0.5.
_RADIOGRAPH = 0.55
_PILE, _JUMP = 0.006, 2.0  # of voxels at the top value; times as many as at the values below it


@dataclass(frozen=True)
class Sample:
    """A volume's values, thinned out.

    Attributes:
        values: Modality values, (slices, rows, columns) float32.
        edge: Those at the border of the slices, (n,), without padding.
        modality: Modality.
        part: BodyPartExamined, capitals.
        kind: ImageType, capitals.
    """

    values: np.ndarray
    edge: np.ndarray
    modality: str
    part: str
    kind: str


def of_sample(sample: Sample) -> list[Finding]:
    """Finds what the values tell against the header; the first thing that explains them."""
    if not np.isfinite(sample.values).all():
        return [Finding("wrong_range", "values are not all finite numbers")]
    if sample.modality == "CT" and "LOCALIZER" in sample.kind:
        return clipped(sample)  # a projection, whose values are no HU
    check = _BY_MODALITY.get(sample.modality)
    return [] if check is None else check(sample) or clipped(sample)


def clipped(sample: Sample) -> list[Finding]:
    """Finds many voxels at the very top value, and few at those right below it."""
    values = sample.values
    top, low = float(values.max()), float(np.percentile(values, 0.1))
    levels = max((top - low) / 256, 1e-6)
    at_top = float((values >= top - 1e-6 * abs(top)).mean())
    below = float(((values < top - 1e-6 * abs(top)) & (values >= top - 5 * levels)).mean()) / 5
    if at_top < _PILE or at_top < _JUMP * below:
        return []
    return [Finding("clipped", f"{at_top:.1%} of the values are the highest, {top:g}; those below it are rare")]


def _of_ct(sample: Sample) -> list[Finding]:
    values = sample.values
    if np.abs(values).max() > _LARGEST_HU:
        return [Finding("wrong_range", f"CT values reach {np.abs(values).max():.3g}, HU do not")]
    body = values[values > _LOWEST_HU]
    if not body.size:
        return [Finding("wrong_range", "CT values are all below -1500")]
    low, tissue = float(np.percentile(body, 0.1)), _share(values, *_TISSUE_HU)
    exchanged = _share(body, 900, 1100) > 0.05 and _share(body, -1100, -900) < 0.01 and low < -300
    if exchanged or (np.ptp(np.percentile(body, (0.5, 99.5))) > 200 and _is_turned(sample, 0.95)):
        return [Finding("inverted", f"CT values are high at the border ({np.median(sample.edge):.4g}), where air is")]
    if low > -50 and _is_ct_like(body):
        return [
            Finding("wrong_range", f"CT values begin at {low:.4g} and tissue lies near 1000: no intercept was added")
        ]
    contrast = float(np.percentile(body, 99)) - low
    if (low > -50 and contrast > _CONTRAST_HU) or (body.min() >= 0 and contrast > _CONTRAST_HU / 2):
        return [
            Finding("wrong_modality", f"CT values begin at {low:.4g}, without air or fat: those of another modality")
        ]
    if tissue < _LEAST_TISSUE:
        return [Finding("wrong_range", f"{tissue:.1%} of the CT values lie within -200 to 200 HU, where tissue does")]
    inner = body[body > _AIR_HU]
    # Between lungs and fat there is little in a CT; an MR that was given an intercept of -1024 has its tissue there.
    if inner.size and _share(inner, *_TISSUE_HU) < 0.25 < _share(inner, -600, -250):
        return [Finding("wrong_modality", "most CT values lie between those of lungs and of fat")]
    return _windowed(body)


def _windowed(body: np.ndarray) -> list[Finding]:
    low = float(body.min())
    piled = float((body <= low + 0.5).mean())
    if low > -600 and piled > 0.05:
        return [Finding("clipped", f"{piled:.0%} of the CT values are the lowest, {low:g}: a window was burned in")]
    return []


def _of_mr(sample: Sample) -> list[Finding]:
    values = sample.values
    below = _share(values, -3100, -500)
    air = _share(values, -1100, -850) > 0.3 * below > 0.006 and _share(values, *_TISSUE_HU) > 0.05
    if air and values.min() > -3100 and not _is_phase(sample):
        return [Finding("wrong_modality", f"{below:.0%} of the values lie below -500 as air does in a CT's HU")]
    if _is_turned(sample, 0.85):
        return [Finding("inverted", "the border is bright, where air is: values may be turned round")]
    if values.min() >= 0 and _is_ct_like(values):
        return [Finding("wrong_modality", "most values lie near 1024, as water does in a CT without its intercept")]
    if len(values) == 1 and min(values.shape[1:]) >= 4 * chest.SIDE and chest.score(values[0]) > _RADIOGRAPH:
        return [Finding("wrong_modality", "it looks like a radiograph of the chest")]
    return []


def _is_phase(sample: Sample) -> bool:
    return bool({"P", "PHASE", "PHASE MAP"} & set(sample.kind.split("\\"))) or abs(float(np.median(sample.edge))) < 100


def _of_radiograph(sample: Sample) -> list[Finding]:
    values, findings = sample.values, list[Finding]()
    if _share(values, -1100, -850) > 0.05 and _share(values, *_TISSUE_HU) > 0.05:
        return [Finding("wrong_modality", "values are a CT's HU")]
    if values.min() >= 0 and _is_ct_like(values) and not clipped(sample):
        return [Finding("wrong_modality", "most values lie near 1024, as water does in a CT without its intercept")]
    known = any(part in sample.part for part in _CHESTS)
    if len(values) > 1 or min(values.shape[1:]) < 4 * chest.SIDE or (sample.part and not known):
        return findings
    score, upside_down = chest.score(values[0]), chest.score(values[0, ::-1])
    if score < (chest.TURNED if known else chest.SURELY_TURNED):
        findings.append(Finding("inverted", f"it looks like a chest with grey values turned round ({score:.2f})"))
    elif upside_down - score > _FLIPPED:
        findings.append(Finding("upside_down", f"it looks like a chest upside down ({upside_down:.2f}, {score:.2f})"))
    return findings


def _of_pet(sample: Sample) -> list[Finding]:
    values = sample.values
    high = float(np.percentile(values, 99.9))
    negative = float((values < -0.02 * max(high, 1e-6)).mean())
    if negative > 0.05:
        return [Finding("wrong_range", f"{negative:.0%} of the PET values are negative")]
    if _is_turned(sample, 0.85):
        return [Finding("inverted", "the border is bright, where air is: values may be turned round")]
    return []


_BY_MODALITY: dict[str, Callable[[Sample], list[Finding]]] = {
    "CT": _of_ct,
    "MR": _of_mr,
    "PT": _of_pet,
    **{name: _of_radiograph for name in RADIOGRAPHS},
}


def _share(values: np.ndarray, low: float, high: float) -> float:
    return float(((values >= low) & (values <= high)).mean())


def _is_turned(sample: Sample, where: float) -> bool:
    """Tells whether the border is as bright as nearly the brightest, and much of the rest is not."""
    low, high = np.percentile(sample.values, (0.5, 99.5))
    if high <= low or not sample.edge.size:
        return False
    border = (float(np.median(sample.edge)) - low) / (high - low)
    darker = (float(np.percentile(sample.values, 3)) - low) / (high - low)
    return bool(border > where and darker < 0.75 * where)


def _is_ct_like(values: np.ndarray) -> bool:
    """Tells whether stored values have a CT's two heaps: air near 0, water near 1024, and little between."""
    body = values[values > _RAW_AIR]
    return body.size > 0.1 * values.size and _share(body, *_RAW_WATER) > _CT_LIKE and _share(values, 0, 100) > 0.02
