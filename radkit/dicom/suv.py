"""SUV of PET: how a slice's modality values become g/ml by body weight, from units, dose, weight and times."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import part10, scan, units, volumes
from radkit.dicom.units import UnitsError

_DAY_S = 86400.0
_EARLY_S = 120.0  # a dynamic scan may start this long before the injection
_HALF_LIVES = 6  # a later scan shows 1/64 of the dose: a wrong clock is likelier
_ONE_DAY_NUCLIDE_S = 12 * 3600.0  # above, the day of an injection does not follow from its time of day

# Half-lives, s (NNDC), by SNOMED CT and SRT code of CID 4020.
_HALF_LIFE_S = {
    ("77004003", "C-111A1"): 6586.2, ("40565003", "C-105A1"): 1221.8, ("21576001", "C-107A1"): 597.9,
    ("129504001", "C-B1038"): 122.24, ("35337001", "C-131A3"): 4057.7, ("79197006", "C-159A2"): 75.45,
    ("3932008", "C-127A2"): 45723.0, ("63360001", "C-168A4"): 282276.0, ("40937006", "C-114A5"): 360806.0,
    ("10738001", "C-162A3"): 53064.0, ("14691008", "C-162A7"): 230580.0, ("53315004", "C-128A2"): 23410080.0,
}  # fmt: skip

# Units (0054,1001) and SUVType (0054,1006) of the UCUM codes of CID 84 and 85.
_UCUM = {
    "Bq/ml": ("BQML", ""), "{counts}": ("CNTS", ""), "g/ml": ("GML", ""), "g/ml{SUVbw}": ("GML", "BW"),
    "g/ml{SUVlbm}": ("GML", "LBM"), "g/ml{SUVlbm(James128)}": ("GML", "LBMJAMES128"), "g/ml{SUVibw}": ("GML", "IBW"),
    "g/ml{SUVlbm(Janma)}": ("GML", "LBMJANMA"), "cm2/ml{SUVbsa}": ("CM2ML", "BSA"), "cm2/ml": ("CM2ML", "BSA"),
}  # fmt: skip


@dataclass(frozen=True)
class Suv:
    """How a slice becomes body-weight SUV, g/ml.

    Attributes:
        factor: SUV = modality value * factor.
        findings: What a reader should know, in words.
    """

    factor: float
    findings: tuple[str, ...]


def decay_factor(half_life_s: float, seconds: float) -> float:
    """Returns which part of an activity is left after some seconds; more than 1 for seconds before.

    A value corrected for decay to time a, times `decay_factor(half_life_s, b - a)`, is corrected to time b.

    >>> decay_factor(6586.2, 6586.2), decay_factor(6586.2, -6586.2)
    (0.5, 2.0)

    Raises:
        UnitsError: The half-life is not positive.
    """
    if not half_life_s > 0:
        raise UnitsError(f"a half-life of {half_life_s} s was given; a positive one is needed")
    return math.pow(2.0, -seconds / half_life_s)  # math.exp2 came with Python 3.11


@part10.silence()
def suv_bw(header: Dataset, frame: int = 0) -> Suv:
    """Returns how one slice's modality values become body-weight SUV.

    Args:
        header: A PET instance's header, private attributes included.
        frame: Which frame of an enhanced instance.

    Raises:
        UnitsError: Weight, dose, half-life or times are absent or contradict each other, or values that are
            neither activity nor SUV.

    Source: QIBA FDG-PET/CT profile 1.13, appendix G (vendor-neutral pseudo-code); IBSI manual on SUV computation;
        DICOM PS3.3 C.8.9.1, C.8.9.2, C.8.22.
    """
    return _Pet(header, frame).suv(None)


@part10.silence()
def suv_volume(volume: volumes.Volume) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns a PET volume's body-weight SUV, (slices, rows, columns), float32, g/ml, and what is to be said of it.

    Slices of a series that starts after one of them was acquired are post-processed: none takes SeriesTime then.

    Args:
        volume: As `volumes.read_volumes` gives it; the headers of its files are read.

    Raises:
        UnitsError: As `suv_bw`, or slices of different factors that were interpolated.
        NotDicom: A header cannot be read.
    """
    if not volume.paths:
        raise UnitsError(
            "the volume's slices were interpolated and are of no file; SUV needs spacing='refuse' or 'keep'"
        )
    headers = {path: scan.read_header(path) for path in dict.fromkeys(volume.paths)}
    pets = [_Pet(headers[path], frame) for path, frame in zip(volume.paths, volume.frame_numbers, strict=True)]
    earliest = min((pet.acquired for pet in pets if pet.acquired is not None), default=None)
    found = [pet.suv(earliest) for pet in pets]
    array, factors = volume.array, np.array([suv.factor for suv in found], np.float32)
    array *= factors[:, None, None]
    return array, tuple(dict.fromkeys(text for suv in found for text in suv.findings))


class _Pet:
    """One PET slice's header, and what is found on the way from it to SUV."""

    def __init__(self, header: Dataset, frame: int) -> None:
        self.header, self.frame, self.where = header, frame, units.layers(header, frame)
        self.findings: list[str] = []
        self.zone = units.text(self.where, "TimezoneOffsetFromUTC")
        dates = (_day(units.text(self.where, f"{name}Date")) for name in ("Acquisition", "Series", "Study", "Content"))
        self.day = next((day for day in dates if day is not None), 0)
        self.acquired = self.moment("FrameAcquisitionDateTime", "Acquisition") or self.moment("AcquisitionDateTime")
        self.half_life_s = 0.0

    def say(self, *findings: str) -> None:
        self.findings += findings

    def moment(self, keyword: str, pair: str = "") -> float | None:
        """Returns seconds of a DT, or of a DA and a TM whose keywords begin with `pair`; local time."""
        seconds = _seconds(units.text(self.where, keyword), self.zone) if keyword else None
        clock = _clock(units.text(self.where, f"{pair}Time")) if pair and seconds is None else None
        if clock is None:
            return seconds
        day = _day(units.text(self.where, f"{pair}Date"))
        return (self.day if day is None else day) * _DAY_S + clock

    def number(self, keyword: str, where: Sequence[Dataset] | None = None) -> float | None:
        return units.number(self.where if where is None else where, keyword)

    def suv(self, earliest: float | None) -> Suv:
        unit, kind, scale = self.units()
        if unit in ("GML", "CM2ML"):
            return self.told(scale * self.of_body_weight(unit, kind))
        if unit == "CNTS":
            factor = units.private_number(self.where, 0x7053, "Philips PET Private Group", 0x00)
            if factor:
                return self.told(scale * factor)
            scale *= units.private_number(self.where, 0x7053, "Philips PET Private Group", 0x09)
            if not scale:
                raise UnitsError(
                    "Units are CNTS; Philips' factors (7053,1000) or (7053,1009) are needed, and are absent or 0"
                )
        elif unit != "BQML":
            raise UnitsError(f"Units are {unit or 'absent'}; BQML, GML, CM2ML or Philips' CNTS are needed for SUV")
        corrected = units.text(self.where, "CorrectedImage").upper()
        if corrected and "ATTN" not in corrected:
            raise UnitsError("CorrectedImage has no ATTN; SUV needs values corrected for attenuation")
        weight_kg = self.weight_kg()
        return self.told(scale * weight_kg * 1000 / self.dose_bq(self.acquired if earliest is None else earliest))

    def told(self, factor: float) -> Suv:
        if not (math.isfinite(factor) and factor > 0):
            raise UnitsError(f"the SUV factor comes to {factor}; a positive one is needed")
        return Suv(factor, tuple(self.findings))

    def units(self) -> tuple[str, str, float]:
        """Returns Units, SUVType, and what one modality value is in these units."""
        if unit := units.text(self.where, "Units"):
            return unit, units.text(self.where, "SUVType"), 1.0
        for item in units.real_world(self.header, self.frame):
            if item.unit not in _UCUM or item.table:
                continue
            slope = self.number("RescaleSlope") or 1.0
            if not math.isclose(item.slope * (self.number("RescaleIntercept") or 0.0), item.intercept * slope):
                raise UnitsError("the real-world mapping and the rescale have different zeros; SUV needs one factor")
            return *_UCUM[item.unit], item.slope / slope
        return "", "", 1.0

    def weight_kg(self) -> float:
        weight = self.number("PatientWeight")
        if not weight or weight <= 0:
            raise UnitsError("PatientWeight is absent or 0; SUV by body weight needs it, in kg")
        if not 0.01 <= weight <= 350:
            self.say("PatientWeight is implausible in kg")
        return weight

    def of_body_weight(self, unit: str, kind: str) -> float:
        """Returns what SUV by another size of the body is times to be by weight."""
        kind = kind or ("BW" if unit == "GML" else "BSA")
        if (kind == "BSA") != (unit == "CM2ML"):
            raise UnitsError(f"Units are {unit} and SUVType is {kind}; BSA goes with CM2ML, the others with GML")
        if kind == "BW":
            if not units.text(self.where, "SUVType"):
                self.say("Units are GML without SUVType: taken as SUV by body weight")
            return 1.0
        weight, height_m = self.weight_kg(), self.number("PatientSize")
        if not height_m or height_m <= 0:
            raise UnitsError(f"SUVType is {kind}; PatientSize in m is needed to come to body weight")
        if height_m > 3:
            self.say("PatientSize is implausible in m: taken as cm")
            height_m /= 100
        sizes = _body_sizes(weight, height_m)
        if kind not in sizes:
            raise UnitsError(f"SUVType {kind} is not known; BW, BSA, IBW and LBM, LBMJAMES128, LBMJANMA are")
        sex = {"M": (1.0, 0.0), "F": (0.0, 1.0)}.get(units.text(self.where, "PatientSex"), (0.5, 0.5))
        size = float(np.dot(sizes[kind], sex))
        self.say(f"SUV by {kind} was brought to body weight")
        if kind != "BSA" and 0.5 in sex:
            self.say("PatientSex is neither M nor F: the mean of both formulas was taken")
        return weight / size

    def dose_bq(self, earliest: float | None) -> float:
        """Returns the dose that the values refer to: what is left of it at the time they are corrected to."""
        info = units.value(self.where, "RadiopharmaceuticalInformationSequence") or ()
        if len(info) != 1:
            raise UnitsError(f"{len(info)} items in RadiopharmaceuticalInformationSequence; SUV needs one")
        dose = self.number("RadionuclideTotalDose", info)
        if not dose or dose <= 0:
            raise UnitsError("RadionuclideTotalDose is absent or 0; SUV needs it")
        # The standard wants Bq in classic instances and MBq in enhanced ones; both are found in both.
        in_mbq = dose < 1e5
        if in_mbq != (units.text(self.where, "SOPClassUID") == "1.2.840.10008.5.1.4.1.1.130"):
            self.say(f"RadionuclideTotalDose is implausible in its unit: taken as {'MBq' if in_mbq else 'Bq'}")
        dose *= 1e6 if in_mbq else 1.0
        if not 1e5 <= dose <= 2e10:
            self.say(f"RadionuclideTotalDose of {dose / 1e6:g} MBq is implausible")
        self.half_life_s = self.half_life(info)
        reference = self.reference(earliest)
        return dose if reference is None else dose * decay_factor(self.half_life_s, self.elapsed_s(info, reference))

    def half_life(self, info: Sequence[Dataset]) -> float:
        told = self.number("RadionuclideHalfLife", info) or 0.0
        codes = {
            units.text([code], "CodeValue") for item in info for code in item.get("RadionuclideCodeSequence") or ()
        }
        known = next((seconds for names, seconds in _HALF_LIFE_S.items() if codes & set(names)), 0.0)
        if told < 1 and not known:
            raise UnitsError("RadionuclideHalfLife is absent or 0, and no known radionuclide's code; SUV needs one")
        if told < 1:
            self.say(f"RadionuclideHalfLife is absent: {known:g} s of the radionuclide's code were taken")
        elif known and abs(told / known - 1) > 0.02:
            raise UnitsError(f"RadionuclideHalfLife is {told:g} s, its radionuclide's is {known:g} s; they must agree")
        return told if told >= 1 else known

    def reference(self, earliest: float | None) -> float | None:
        """Returns the moment that the values are corrected to; None for that of the injection."""
        correction = units.text(self.where, "DecayCorrection") or units.text(self.where, "DecayCorrected")
        if correction == "ADMIN":
            return None
        if correction == "START":
            found = self.start(earliest)
        elif correction == "YES":
            found = self.moment("DecayCorrectionDateTime")
        elif correction in ("NONE", "NO"):
            self.say("values are not corrected for decay: each slice's own time was taken")
            found = self.moment("FrameReferenceDateTime") or (self.middle() if self.acquired is not None else None)
        else:
            raise UnitsError(f"DecayCorrection is {correction or 'absent'}; START, ADMIN or NONE are needed")
        if found is None:
            raise UnitsError("the scan's times are absent, as if de-identified; SUV needs times (dates may be shifted)")
        return found

    def middle(self) -> float:
        """Returns when the slice's activity was what it is on average."""
        duration_s = (self.number("ActualFrameDuration") or self.number("FrameAcquisitionDuration") or 0.0) / 1000
        if duration_s <= 0:
            self.say("ActualFrameDuration is absent: the slice's values were taken as of its acquisition's start")
        decays = math.log(2) / self.half_life_s * duration_s
        shift = math.log(decays / -math.expm1(-decays)) / decays * duration_s if decays > 0 else 0.0
        return (self.acquired or 0.0) + shift

    def start(self, earliest: float | None) -> float | None:
        """Returns the start of the scan, from what tells it best."""
        series, offset_ms = self.moment("", "Series"), self.number("FrameReferenceTime") or 0.0
        duration = self.number("ActualFrameDuration") or 0.0
        told = None
        if self.acquired is not None and offset_ms > 0 and duration > 0:
            told = self.middle() - offset_ms / 1000
        scan_start = _seconds(str(units.private(self.where, 0x0009, "GEMS_PETD_01", 0x0D) or ""), self.zone)
        if scan_start is not None and abs(scan_start - (earliest or series or scan_start)) < _DAY_S / 2:
            told = scan_start
        if series is not None and (earliest is None or series <= earliest):
            if told is not None and abs(told - series) > 0.015 * self.half_life_s:  # 1 % of SUV
                self.say(f"SeriesTime is {abs(told - series):.0f} s from the start that the frame's times tell")
            if earliest is None:
                self.say("AcquisitionTime is absent: that SeriesTime is the scan's start could not be checked")
            return series
        if series is not None:
            self.say("SeriesTime is after the acquisition: the scan's start was taken from the frames' times")
        if told is None and earliest is not None:
            self.say("the earliest AcquisitionTime was taken as the scan's start")
        return earliest if told is None else told

    def elapsed_s(self, info: Sequence[Dataset], reference: float) -> float:
        """Returns seconds from the injection to a moment."""
        clock = _clock(units.text(info, "RadiopharmaceuticalStartTime"))
        exact = _seconds(units.text(info, "RadiopharmaceuticalStartDateTime"), self.zone)
        if exact is None and clock is None:
            raise UnitsError("RadiopharmaceuticalStartDateTime and -StartTime are absent; SUV needs one")
        if exact is not None and exact % _DAY_S == 0 and clock is not None:
            exact += clock  # a date that stands as a date and time
        if reference % _DAY_S == 0 and (clock if exact is None else exact % _DAY_S) == 0:
            raise UnitsError("scan and injection are at 00:00:00, as if de-identified; SUV needs the times of day")
        if exact is None or not -_EARLY_S <= reference - exact <= _HALF_LIVES * self.half_life_s:
            elapsed = self.within_a_day(reference, exact, clock)
        else:
            elapsed = reference - exact
            if clock is not None and abs((exact - clock + _DAY_S / 2) % _DAY_S - _DAY_S / 2) > 1:
                self.say("RadiopharmaceuticalStartTime and -StartDateTime differ: the latter was taken")
        if elapsed < 0:
            self.say(f"the scan starts {-elapsed:.0f} s before the injection")
        return elapsed

    def within_a_day(self, reference: float, exact: float | None, clock: float | None) -> float:
        """Returns seconds from an injection of which only the time of day is trusted."""
        if self.half_life_s > _ONE_DAY_NUCLIDE_S:
            raise UnitsError(
                "the day of the injection is absent or does not fit the scan's; this radionuclide needs it"
            )
        if exact is not None:
            self.say("RadiopharmaceuticalStartDateTime does not fit the scan's date: its time of day was taken")
        elapsed = reference % _DAY_S - ((exact or 0.0) % _DAY_S if clock is None else clock)
        latest = _HALF_LIVES * self.half_life_s
        if elapsed < -_EARLY_S:
            if elapsed + _DAY_S > latest:
                raise UnitsError(f"the injection is {-elapsed:.0f} s after the scan's start; it must be before")
            self.say("the injection's time of day is after the scan's: it was taken as of the day before")
            elapsed += _DAY_S
        if elapsed > latest:
            raise UnitsError(
                f"the injection is {elapsed / 3600:.1f} h before the scan, more than {_HALF_LIVES} half-lives"
            )
        return elapsed


def _body_sizes(weight: float, height_m: float) -> dict[str, tuple[float, float]]:
    """Returns what the kinds of SUV divide by, of men and of women: kg, for BSA 0.1 m2.

    Source: James 1976 (with 120 as first printed, and 128), Janmahasatian 2005, Sugawara 1999, DuBois 1916.
    """
    mass_index, ratio = weight / height_m**2, (weight / height_m / 100) ** 2
    surface = weight**0.425 * (height_m * 100) ** 0.725 * 0.07184
    return {
        "LBM": (1.10 * weight - 120 * ratio, 1.07 * weight - 148 * ratio),
        "LBMJAMES128": (1.10 * weight - 128 * ratio, 1.07 * weight - 148 * ratio),
        "LBMJANMA": (9270 * weight / (6680 + 216 * mass_index), 9270 * weight / (8780 + 244 * mass_index)),
        "IBW": (48.0 + 1.06 * (height_m * 100 - 152), 45.5 + 0.91 * (height_m * 100 - 152)),
        "BSA": (surface, surface),
    }


def _clock(text: str) -> float | None:
    """Returns seconds since midnight of a TM."""
    found = re.fullmatch(r"(\d\d):?(\d\d)?:?(\d\d(?:\.\d*)?)?", text)
    if not found:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds if hours < 24 and minutes < 60 and seconds < 61 else None


def _day(text: str) -> int | None:
    """Returns a DA, or the beginning of a DT, as a number of days."""
    digits = text.replace(".", "")[:8] if text[4:5] == "." else text[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).toordinal()
    except ValueError:
        return None


def _seconds(text: str, zone: str) -> float | None:
    """Returns a DT that has a time of day in seconds, local time of `zone`."""
    found = re.fullmatch(r"(\d{8})(\d{2,6}(?:\.\d*)?)([+-]\d{4})?", text)
    day, clock = (_day(found[1]), _clock(found[2])) if found else (None, None)
    if found is None or day is None or clock is None:
        return None
    return day * _DAY_S + clock - (_zone(found[3]) - _zone(zone) if found[3] and zone else 0.0)


def _zone(text: str) -> float:
    """Returns a UTC offset (+0100), s."""
    found = re.fullmatch(r"([+-])(\d\d)(\d\d)", text)
    return float(f"{found[1]}1") * (int(found[2]) * 3600 + int(found[3]) * 60) if found else 0.0
