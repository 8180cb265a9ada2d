"""What stored values and pixels mean: precise and real-world values, a radiograph's side, view and size of a pixel."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from radkit.dicom import attributes, part10, scan
from radkit.errors import UserError

# Views by the terms of ViewPosition: codes in SNOMED CT and, of several generations, in SRT (CID 4010, 4014);
# projection.
_VIEWS = {
    "AP": ("399348003 R-10206", "frontal"), "PA": ("272479007 R-40888 R-10214", "frontal"),
    "FRONTAL": ("399033003 R-10202", "frontal"), "LATERAL": ("399067008 R-102CD", "lateral"),
    "LL": ("399173006 R-10236", "lateral"), "RL": ("399198007 R-10232", "lateral"),
    "LLO": ("399184004 R-10238", "oblique"), "RLO": ("399236003 R-10234", "oblique"),
    "LAO": ("399135007 R-10220", "oblique"), "RAO": ("399356000 R-40985 R-10218", "oblique"),
    "LPO": ("399006002 R-10212", "oblique"), "RPO": ("399038007 R-10210", "oblique"),
    "OBLIQUE": ("399182000 R-102C1", "oblique"), "AXIAL": ("399061009 R-10241", "axial"),
    "CC": ("399162004 R-10242", "axial"), "FB": ("399196006 R-10244", "axial"),
    "XCCL": ("399192008 R-1024A Y-X1770", "axial"), "XCCM": ("399101009 R-1024B Y-X1771", "axial"),
    "MLO": ("399368009 R-10226", "oblique"), "LMO": ("399099002 R-10230", "oblique"),
    "SIO": ("399188001 R-102D0", "oblique"), "ISO": ("441555000 R-40AAA", "oblique"),
    "ML": ("399260004 R-10224", "lateral"), "LM": ("399352003 R-10228", "lateral"),
    "LLD": ("", "decubitus"), "RLD": ("", "decubitus"),
}  # fmt: skip
_VIEW_OF_CODE = {code: name for name, (codes, _) in _VIEWS.items() for code in codes.split()}
_MAMMOGRAPHY = ("CC", "FB", "XCCL", "XCCM", "MLO", "LMO", "SIO", "ISO", "ML", "LM")
# Other words for the same, as devices write them.
_SAID = {
    "LAT": "LATERAL",
    "LLAT": "LL",
    "RLAT": "RL",
    "APAXIAL": "AP",
    "APSUPINE": "AP",
    "OBL": "OBLIQUE",
    "AX": "AXIAL",
}
# CID 4015: a mammogram's view is modified so.
_MODIFIERS = {
    "399163009": "M", "R-102D6": "M", "399055006": "S", "R-102D7": "S", "399209000": "ID", "R-102D5": "ID",
    "399161006": "CV", "R-102D2": "CV", "399011000": "AT", "R-102D1": "AT", "399110001": "TAN", "R-102C2": "TAN",
    "399197002": "RL", "R-102D3": "RL", "399226006": "RM", "R-102D4": "RM", "415670009": "RS", "R-102C9": "RS",
    "414493004": "RI", "R-102CA": "RI", "442581004": "NP", "R-40AB3": "NP", "442593008": "IMF", "R-40ABE": "IMF",
    "442580003": "AXT", "R-40AB2": "AXT", "441752004": "AC", "P2-00161": "AC",
}  # fmt: skip
_SIDES = {"7771000": "L", "G-A101": "L", "24028007": "R", "G-A100": "R", "51440002": "B", "G-A102": "B"}
# Which plane two directions of PatientOrientation span.
_PLANES = {"FH LR": "frontal", "AP FH": "lateral", "AP LR": "axial"}
_UNPAIRED = ("CHEST", "THORAX", "ABDOMEN", "PELVIS", "SKULL", "HEAD", "CSPINE", "TSPINE", "LSPINE", "SPINE", "SACRUM")


class UnitsError(UserError):
    """Values that cannot be brought to the unit asked for; the message says what was found and what is needed."""


@dataclass(frozen=True)
class RealWorld:
    """One real-world value mapping: stored values from `first` to `last` mean `slope * stored + intercept`, or `table`.

    Attributes:
        slope: nan where a table maps.
        intercept: nan where a table maps.
        table: The value of each stored value from `first`, float64; empty where a line maps.
        first: The least stored value that is mapped; -inf when it is not told.
        last: The greatest; inf when it is not told.
        unit: Code of the unit, in UCUM mostly.
        label: LUTLabel.
    """

    slope: float
    intercept: float
    table: tuple[float, ...]
    first: float
    last: float
    unit: str
    label: str


@dataclass(frozen=True)
class View:
    """What a radiograph shows, as its header tells.

    Attributes:
        laterality: L, R, B (both), U (unpaired), or empty.
        view: A term of ViewPosition: PA, AP, LL, RL, LATERAL, ...; CC, MLO, ML, ... of a mammogram; or as it stands.
        modifiers: Of a mammogram's view: M (magnified), S (spot), ID (implant displaced), ...
        projection: frontal, lateral, oblique, axial, decubitus, or empty.
        body_part: BodyPartExamined.
        findings: What contradicts itself or is absent, in words.
    """

    laterality: str
    view: str
    modifiers: tuple[str, ...]
    projection: str
    body_part: str
    findings: tuple[str, ...]


def layers(header: Dataset, frame: int = 0) -> list[Dataset]:
    """Returns where a frame's attributes stand, the nearest first: items of its functional groups, then the header."""
    found = []
    for keyword, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        for group in list(header.get(keyword) or ())[index : index + 1]:
            found += [group, *(element.value[0] for element in group if element.VR == "SQ" and element.value)]
    return [*found, header]


def value(where: Sequence[Dataset], keyword: str) -> Any:
    """Returns an attribute's value in the first data set that has one; None where none has."""
    found = (attributes.value(dataset, keyword) for dataset in where)
    return next((v for v in found if v is not None), None)


def text(where: Sequence[Dataset], keyword: str) -> str:
    """Returns an attribute's value as text; empty where there is none, or none that can be read."""
    try:
        found = value(where, keyword)
    except scan.NotDicom:
        return ""
    return "" if found is None else str(found).strip()


def number(where: Sequence[Dataset], keyword: str) -> float | None:
    """Returns an attribute that is one finite number; None where there is none.

    Raises:
        UnitsError: It is something else.
    """
    found = value(where, keyword)
    try:
        given = None if found is None else float(found)
    except (TypeError, ValueError) as error:
        raise UnitsError(f"{keyword} is not one number; one is needed") from error
    if given is not None and not math.isfinite(given):
        raise UnitsError(f"{keyword} is {given}; a finite number is needed")
    return given


def private(where: Sequence[Dataset], group: int, creator: str, element: int) -> Any:
    """Returns a private element's value; in a group without any creator, that of the first block; None where absent.

    Bytes of unknown representation become the number they say or, of four, the float32 they are; else text.
    """
    for dataset in where:
        tags = list(dataset.keys())
        blocks = [tag.element for tag in tags if tag.group == group and 0x10 <= tag.element <= 0xFF]
        own = [b for b in blocks if str(dataset[Tag(group, b)].value).strip().lower() == creator.lower()]
        for block in own if blocks else [0x10]:
            tag = Tag(group, block << 8 | element)
            if tag in dataset and dataset[tag].value not in (None, "", b""):
                found = dataset[tag].value
                return _guessed(found) if isinstance(found, bytes) else found
    return None


def private_number(where: Sequence[Dataset], group: int, creator: str, element: int) -> float:
    """Returns a private element that is a finite number; 0 where it is absent or something else."""
    try:
        found = float(private(where, group, creator, element))
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) else 0.0


def _guessed(raw: bytes) -> float | str:
    said = raw.decode("latin-1").strip("\0 ")
    try:
        return float(said)
    except ValueError:
        return float(struct.unpack("<f", raw)[0]) if len(raw) == 4 else said


@part10.silence()
def precise(header: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """Returns (slope, intercept) from stored values to Philips' precise values, which compare between series.

    Rescaled values are for display: each series has a scale of its own. Precise is
    `(stored * RescaleSlope + RescaleIntercept) / (RescaleSlope * scale slope)`.

    Returns:
        None where Philips' scale slope is absent or maps nothing.

    Source: Chenevert et al. 2014, https://doi.org/10.1593/tlo.13811; private (2005,100E) of Philips MR Imaging DD 001.
    """
    where = layers(header, frame)
    nested = private(where, 0x2005, "Philips MR Imaging DD 005", 0x0F)  # in enhanced instances, one item a frame
    where = [*(nested if isinstance(nested, pydicom.Sequence) else ()), *where]
    scale = private_number(where, 0x2005, "Philips MR Imaging DD 001", 0x0E)
    zero = private_number(where, 0x2005, "Philips MR Imaging DD 001", 0x0D)
    slope, intercept = number(where, "RescaleSlope"), number(where, "RescaleIntercept")
    if not scale:
        return None
    # Without a rescale the scale's own intercept says the same: -RescaleIntercept / RescaleSlope.
    return 1 / scale, intercept / (slope * scale) if slope and intercept is not None else -zero / scale


@part10.silence()
def real_world(header: Dataset, frame: int = 0) -> list[RealWorld]:
    """Returns the real-world value mappings of an image or a frame, in their order.

    Raises:
        UnitsError: A mapping has neither a slope and an intercept nor a table.

    Source: DICOM PS3.3 C.7.6.16.2.11, C.11.1.
    """
    where = layers(header, frame)
    return [_mapping(item, where) for item in value(where, "RealWorldValueMappingSequence") or ()]


def _mapping(item: Dataset, where: Sequence[Dataset]) -> RealWorld:
    slope, intercept = number([item], "RealWorldValueSlope"), number([item], "RealWorldValueIntercept")
    table = tuple(float(v) for v in np.atleast_1d(value([item], "RealWorldValueLUTData") or ()))
    if not table and (slope is None or intercept is None):
        raise UnitsError("a real-world value mapping has no slope and intercept and no table; one of them is needed")
    signed = number(where, "PixelRepresentation") == 1
    ends = []
    for name, absent in (("First", -math.inf), ("Last", math.inf)):
        end = value([item], f"RealWorldValue{name}ValueMapped")
        if isinstance(end, bytes):  # implicit VR does not tell US from SS
            end = int.from_bytes(end[:2], "little", signed=signed)
        if end is None:
            end = number([item], f"DoubleFloatRealWorldValue{name}ValueMapped")
        ends.append(absent if end is None else float(end))
    units = value([item], "MeasurementUnitsCodeSequence") or ()
    nan = math.nan
    line = (nan, nan) if table or slope is None or intercept is None else (slope, intercept)
    return RealWorld(*line, table, ends[0], ends[1], text(units, "CodeValue"), text([item], "LUTLabel"))


@part10.silence()
def view(header: Dataset) -> View:
    """Returns side, view and projection of a radiograph (CR, DX, MG, ...), and what contradicts itself.

    A code says more than a word, an image's side more than its series'.

    Source: DICOM PS3.3 C.8.11.5.1, C.8.11.7; PS3.16 CID 244, 4010, 4014, 4015.
    """
    where, findings = layers(header), list[str]()
    side = _side(where, findings)
    words = "".join(filter(str.isalnum, text(where, "ViewPosition").upper()))
    word, codes = _SAID.get(words, words), _items(where, "ViewCodeSequence")
    coded = next((_VIEW_OF_CODE[c] for c in (text([i], "CodeValue") for i in codes) if c in _VIEW_OF_CODE), "")
    if coded and word and coded != word and not _alike(coded, word):
        findings.append(f"ViewCodeSequence means {coded} and ViewPosition {word if word in _VIEWS else 'another'}")
    found = word if coded and _alike(coded, word) and len(word) == 2 else coded or word
    changes = [m for item in codes for m in _items([item], "ViewModifierCodeSequence")]
    modifiers = tuple(_MODIFIERS[c] for c in (text([m], "CodeValue") for m in changes) if c in _MODIFIERS)
    projection = _VIEWS[found][1] if found in _VIEWS else ""
    part = text(where, "BodyPartExamined")
    _check(where, findings, side, found, projection, part.upper())
    return View(side, found, modifiers, projection, part, tuple(findings))


def _items(where: Sequence[Dataset], keyword: str) -> Sequence[Dataset]:
    try:
        found = value(where, keyword)
    except scan.NotDicom:  # a view is not worth losing the image for
        return ()
    return found if isinstance(found, pydicom.Sequence) else ()


def _alike(coded: str, word: str) -> bool:
    return {coded, word} <= {"LATERAL", "LL", "RL"} and "LATERAL" in (coded, word)


def _side(where: Sequence[Dataset], findings: list[str]) -> str:
    regions = _items(where, "AnatomicRegionSequence")
    modifiers = [m for region in regions for m in _items([region], "AnatomicRegionModifierSequence")]
    coded = next((_SIDES[c] for c in (text([m], "CodeValue") for m in modifiers) if c in _SIDES), "")
    told = {name: text(where, name).upper() for name in ("ImageLaterality", "FrameLaterality", "Laterality")}
    told["AnatomicRegionModifierSequence"] = coded
    known = {name: side for name, side in told.items() if side in ("L", "R", "B", "U")}
    if len({side for side in known.values() if side != "U"}) > 1:
        findings.append("sides differ: " + ", ".join(f"{name} {side}" for name, side in known.items()))
    return next(iter(known.values()), "")


def _check(where: Sequence[Dataset], findings: list[str], side: str, found: str, projection: str, part: str) -> None:
    mammogram = text(where, "Modality") == "MG"
    if mammogram and side not in ("L", "R", "B"):
        findings.append("a mammogram without a side")
    if mammogram and found not in _MAMMOGRAPHY:
        findings.append("a mammogram without a known view" if not found else "a mammogram with a view of other parts")
    if part and (part == "BREAST") != mammogram and (mammogram or found in _MAMMOGRAPHY[:8]):
        findings.append("BodyPartExamined does not fit a mammogram's view")
    if part in _UNPAIRED and side in ("L", "R") and projection == "frontal":
        findings.append(f"side {side} of an unpaired part in a frontal view")
    lies = _plane(where)
    if (
        lies
        and projection in ("frontal", "lateral", "axial")
        and lies != projection
        and (mammogram or part in _UNPAIRED)
    ):
        findings.append(f"PatientOrientation is of a {lies} image, the view is {projection}")


def _plane(where: Sequence[Dataset]) -> str:
    try:
        ways = value(where, "PatientOrientation")
    except scan.NotDicom:
        return ""
    if not isinstance(ways, MultiValue):
        return ""
    axes = sorted(next((axis for axis in ("AP", "FH", "LR") if way[:1] in axis), "") for way in map(str, ways) if way)
    return _PLANES.get(" ".join(axes), "")


@part10.silence()
def spacing(header: Dataset) -> tuple[float, float, tuple[str, ...]]:
    """Returns mm between rows and between columns of an image without a place in the patient; nan where not told.

    A radiograph's pixels are measured at the detector (ImagerPixelSpacing), behind the patient, who is smaller by
    the magnification. PixelSpacing that is another than ImagerPixelSpacing was corrected for it.

    Source: DICOM PS3.3 10.7.1, C.8.5.5, C.8.7.10.
    """
    where, findings = layers(header), list[str]()
    told, imager = _pair(where, "PixelSpacing", findings), _pair(where, "ImagerPixelSpacing", findings)
    if told and not (imager and np.allclose(told, imager, rtol=1e-4)):
        how = text(where, "PixelSpacingCalibrationType")
        if imager and not how:
            findings.append("PixelSpacing was calibrated, how is not told (PixelSpacingCalibrationType)")
        if imager and told[0] > imager[0] * 1.0001:
            findings.append("PixelSpacing is more than ImagerPixelSpacing: the patient would be larger than his shadow")
        if not imager and not how and text(where, "Modality") in ("CR", "DX", "MG", "XA", "RF"):
            findings.append("PixelSpacing without ImagerPixelSpacing: at the detector or in the patient is not told")
        return *told, tuple(findings)
    if imager:
        return *_in_patient(where, imager, findings), tuple(findings)
    if scanned := _pair(where, "NominalScannedPixelSpacing", findings):
        return *scanned, (*findings, "spacing is of the scanned film")
    if region := _ultrasound(where, findings):
        return *region, (*findings, "spacing is of the ultrasound region; outside of it nothing is measured")
    return math.nan, math.nan, (*findings, "no PixelSpacing: sizes in mm are unknown")


def _pair(where: Sequence[Dataset], keyword: str, findings: list[str]) -> tuple[float, float] | None:
    try:
        found = value(where, keyword)
        pair = None if found is None else tuple(float(v) for v in found)
    except (TypeError, ValueError):
        pair = ()
    if pair is None or (len(pair) == 2 and min(pair) > 0 and math.isfinite(sum(pair))):
        return pair  # type: ignore[return-value]
    findings.append(f"{keyword} is not of two positive numbers")
    return None


def _in_patient(where: Sequence[Dataset], imager: tuple[float, float], findings: list[str]) -> tuple[float, float]:
    try:
        times = number(where, "EstimatedRadiographicMagnificationFactor") or 0.0
    except UserError:
        times = 0.0
    if 1 <= times <= 10:
        findings.append(f"ImagerPixelSpacing was divided by the estimated magnification, {times:g}")
        return imager[0] / times, imager[1] / times
    findings.append("spacing is at the detector: the patient is smaller by an unknown magnification")
    return imager


def _ultrasound(where: Sequence[Dataset], findings: list[str]) -> tuple[float, float] | None:
    """Returns the spacing of the two-dimensional regions, where they agree."""
    found = set()
    for region in _items(where, "SequenceOfUltrasoundRegions"):
        names = ("RegionSpatialFormat", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection")
        try:
            if [number([region], name) for name in names] == [1, 3, 3]:  # tissue, in cm
                deltas = [number([region], f"PhysicalDelta{axis}") or 0.0 for axis in "YX"]
                found.add((abs(deltas[0]) * 10, abs(deltas[1]) * 10))
        except UserError as error:
            findings.append(f"an ultrasound region was left out: {error}")
    if len(found) > 1:
        findings.append(f"{len(found)} ultrasound regions of different spacing")
    return found.pop() if len(found) == 1 and min(min(pair) for pair in found) > 0 else None
