"""What a series is, as far as its headers tell: plane, spacing, contrast, phase, kernel. Hints are named so.

Words are looked for in English, German, French and Spanish. A hint is empty where nothing was found: it never stands
for "no".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit.dicom import geometry

OBLIQUE_DEGREES = 30.0  # a normal further than this from every axis belongs to none
SAME_PLACE_MM = 0.01
GAP = 1.5  # a step of so many median steps is one where slices may be missing
_PLANES = ("sagittal", "coronal", "axial")


def numbers(text: str | None, count: int) -> tuple[float, ...] | None:
    r"""Returns the finite numbers of a multi-valued attribute's text; None when there are not so many.

    >>> numbers("0.7\\0.8", 2), numbers("0.7", 2), numbers("nan\\1", 2)
    ((0.7, 0.8), None, None)
    """
    try:
        found = tuple(float(part) for part in (text or "").split("\\"))
    except ValueError:
        return None
    return found if len(found) == count and np.isfinite(found).all() else None


def plane(orientation: Sequence[float]) -> tuple[str, float] | None:
    """Returns the anatomical plane and the angle between its axis and the slices' normal, degrees.

    `oblique` is what is more than 30 degrees from all three. None when the orientation is none.

    Args:
        orientation: ImageOrientationPatient, (6,).

    Source: DICOM PS3.3 C.7.6.2.1.1 (LPS axes).

    >>> plane((1, 0, 0, 0, 1, 0)), plane((0, 1, 0, 0, 0, -1))
    (('axial', 0.0), ('sagittal', 0.0))
    """
    try:
        normal = np.abs(geometry.axes(np.asarray(orientation, np.float64))[2])
    except geometry.GeometryError:
        return None
    axis = int(np.argmax(normal))
    degrees = round(float(np.degrees(np.arccos(min(1.0, float(normal[axis]))))), 2)
    return (_PLANES[axis] if degrees <= OBLIQUE_DEGREES else "oblique"), degrees


@dataclass(frozen=True)
class Places:
    """Where a series' slices lie along their normal.

    Attributes:
        num_positions: Different places.
        spacing_mm: Median step between them; None for a single one.
        num_gaps: Steps of 1.5 medians and more.
        most_at_one: The most slices at one place.
        middle: Which slice is the middle one.
    """

    num_positions: int
    spacing_mm: float | None
    num_gaps: int
    most_at_one: int
    middle: int


def places(positions: np.ndarray, orientation: Sequence[float]) -> Places | None:
    """Returns how slices of one orientation are spaced; None when the orientation is none.

    Args:
        positions: ImagePositionPatient of each, (slices, 3), mm.
        orientation: ImageOrientationPatient, (6,).
    """
    try:
        axis = geometry.axes(np.asarray(orientation, np.float64))[2]
    except geometry.GeometryError:
        return None
    along = positions @ axis
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    starts = np.concatenate(([0], np.flatnonzero(steps >= SAME_PLACE_MM) + 1, [len(along)]))
    real = steps[steps >= SAME_PLACE_MM]
    spacing = float(np.median(real)) if real.size else None
    gaps = int((real >= GAP * spacing).sum()) if spacing else 0
    middle = int(order[starts[(len(starts) - 2) // 2]])
    rounded = None if spacing is None else round(spacing, 4)
    return Places(len(starts) - 1, rounded, gaps, int(np.diff(starts).max()), middle)


_NO_AGENT = frozenset((
    "", "0", "keine", "keiner", "kein", "n", "na", "no", "non", "none", "null", "ohne", "sans", "sin",
))  # fmt: skip
# Names of techniques that hold words of contrast and phases, and mean neither.
_TECHNIQUES = re.compile(
    r"arterial spin\w*( label\w*)?|phase[ -]contrast|time[ -]of[ -]flight|(art|ven)\w*[ -]tof|tof[ -](art|ven)\w*"
    r"|transfer contrast|contrast transfer|\bsusceptib\w*",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"nativ|un-?enhanced|\bw/?o\b|without|\bohne\b|\bsans\b|\bsin (?:civ?|contraste)\b|\bnon?[ -]?(?:con|ce\b|inj)"
    r"|\bpre[ -]?(?:con|ce\b|gd|gad|km|inj)|\bpre\b(?![ -]?op)|\bnc\b",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"\+ ?(?:c|km|gd|gad|k)\b|\b(?:c|mit)\+|\bkm\b|contrast|\bd?ce\b|\biv\b|\bgd\b|\bgad\b|gado|dotarem"
    r"|\bpost[ -]?(?:con|ce\b|gd|gad|km|inj)|\bpost\b(?![ -]?op)|\binj",
    re.IGNORECASE,
)
_PHASES = (
    ("portal", re.compile(r"portal|port[ -]?ven|\bpvp?\b", re.IGNORECASE)),
    ("arterial", re.compile(r"arteri|\bart\b|\bcta\b", re.IGNORECASE)),
    ("venous", re.compile(r"ven(?:ous|ös|oes|eu|os)|\bven\b", re.IGNORECASE)),
    ("delayed", re.compile(r"\bdelayed\b|\blate\b|spaet|spät|tardi|equilib|excret|hepatobil", re.IGNORECASE)),
)
_LATE_ARTERIAL = re.compile(r"late[ -]?arter|sp(?:ä|ae)t[ -]?art", re.IGNORECASE)
# Seconds after the contrast's start, and what they are in the trunk.
_TIMES = ((15, 45, "arterial"), (55, 100, "portal"), (150, 1200, "delayed"))


def _plain(words: str) -> str:
    return _TECHNIQUES.sub(" ", words.replace("_", " "))


def contrast(agent: str | None, words: str) -> str:
    """Returns whether a series was taken with contrast, as a hint: `yes`, `no` or nothing.

    Args:
        agent: ContrastBolusAgent.
        words: Descriptions. What they say against it stands over the agent, which devices keep from series to series.

    >>> contrast("Iohexol", "Abdomen"), contrast("Iohexol", "Abdomen nativ"), contrast(None, "t1 +KM"), contrast("", "")
    ('yes', 'no', 'yes', '')
    """
    text = _plain(words)
    if _WITHOUT.search(text):
        return "no"
    if (agent or "").strip().lower() not in _NO_AGENT or _WITH.search(text):
        return "yes"
    return ""


def phase(words: str, seconds: float | None = None, *, with_contrast: bool = False) -> str:
    """Returns the contrast phase as a hint: native, arterial, portal, venous, delayed; several with `+`; or nothing.

    Args:
        words: Descriptions.
        seconds: From ContrastBolusStartTime to AcquisitionTime; asked only where words say nothing.
        with_contrast: Whether contrast is known of; without, seconds say nothing.

    >>> phase("Abdomen portalvenös"), phase("Leber spät"), phase("", 70.0, with_contrast=True), phase("Thorax")
    ('portal', 'delayed', 'portal', '')
    """
    text = _plain(words)
    found = [name for name, pattern in _PHASES if pattern.search(text)]
    if "portal" in found and "venous" in found:
        found.remove("venous")
    if "arterial" in found and "delayed" in found and _LATE_ARTERIAL.search(text):
        found.remove("delayed")
    if found:
        return "+".join(sorted(found))
    if _WITHOUT.search(text):
        return "native"
    if with_contrast and seconds is not None:
        return next((name for low, high, name in _TIMES if low <= seconds <= high), "")
    return ""


# The names are those of the manufacturers' manuals; Siemens' numbers rise with sharpness.
_KERNELS = (
    ("lung", re.compile(r"lung|^bl\d|^fc5\d|^l$|^chst|^chest", re.IGNORECASE)),
    ("bone", re.compile(r"bone|^fc3\d|^fc8\d|^yd$|^e$|^edge|\bear\b|knochen", re.IGNORECASE)),
    ("soft", re.compile(r"soft|^stand|^detail|smooth|^fc[0-2]\d|^y?[abc]$|^u[abc]$|brain", re.IGNORECASE)),
    ("sharp", re.compile(r"^d$|sharp", re.IGNORECASE)),
)
_SIEMENS = re.compile(r"^(?:[bhjiudtsq]|[bhqus][cfmrnvlpx])(\d\d)", re.IGNORECASE)
_SHARP = 50


def kernel(name: str | None) -> str:
    """Returns what a reconstruction kernel is for, as a hint: soft, bone, lung, sharp (either of these); or nothing.

    Args:
        name: ConvolutionKernel; of several values the first counts.

    >>> [kernel(name) for name in ("STANDARD", "BONEPLUS", "B30f", "Br60d", "Bl57", "FC51", "YC", "?")]
    ['soft', 'bone', 'soft', 'sharp', 'lung', 'lung', 'soft', '']
    """
    first = (name or "").split("\\")[0].strip()
    for kind, pattern in _KERNELS:
        if pattern.search(first):
            return kind
    number = _SIEMENS.match(first)
    return "" if number is None else "sharp" if int(number[1]) >= _SHARP else "soft"


_LOCALIZER = re.compile(
    r"locali[sz]|scout|survey|surview|topogram|scano|\bpilot\b|\bloc\b|planung|\brep[eé]rage", re.IGNORECASE
)


def is_localizer(image_type: str | None, words: str) -> bool:
    r"""Tells whether a series is a localizer, by ImageType or words.

    >>> is_localizer("ORIGINAL\\PRIMARY\\LOCALIZER", ""), is_localizer("", "Scout"), is_localizer("", "Liver")
    (True, True, False)
    """
    return "LOCALIZER" in (image_type or "").split("\\") or bool(_LOCALIZER.search(words.replace("_", " ")))


def seconds_of_day(time: str | None) -> float | None:
    """Returns a TM value in seconds; None when it is none.

    >>> seconds_of_day("101530.5"), seconds_of_day("25"), seconds_of_day(None)
    (36930.5, None, None)
    """
    found = re.fullmatch(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d(?:\.\d{1,6})?))?)?", (time or "").strip())
    if found is None:
        return None
    return int(found[1]) * 3600 + int(found[2] or 0) * 60 + float(found[3] or 0)
