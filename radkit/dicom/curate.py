"""Which series are taken: by what was asked for, by what is found in them, and by a person's word over both."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from radkit import config
from radkit.dicom import contradictions, facts, scan, words
from radkit.dicom.findings import KINDS, Finding
from radkit.dicom.volumes import Volume
from radkit.errors import UserError

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_HINTS = ("sharp", "smooth")  # kernels by what they are for
_SMOOTH = ("soft",)
_SHARP = ("sharp", "bone", "lung")
_NOT_ASKED = "{} was asked for, the header tells of {}"


class OverrideError(UserError):
    """A table of overrides that cannot be honoured; the message names the lines."""


def rules(instances: Sequence[scan.Instance], rules: config.Curate) -> list[Finding]:
    """Returns what a series' headers tell against what was asked for; nothing where all is as asked.

    What no rule asks is not looked at. A rule that the headers cannot answer is a finding `untold`, unless
    `rules.untold` is `keep`. A header that says that text is burned into the pixels is a finding, too, and so are
    headers that contradict each other.

    Args:
        instances: Of one series.
        rules: The config's `data.curate`.
    """
    if not instances:
        return []
    asked = _by_value(instances, rules) + _by_number(instances, rules) + _by_kind(instances, rules)
    found = [finding for finding in asked if finding.name != "untold" or rules.untold == "leave_out"]
    if any(one["BurnedInAnnotation"].upper() == "YES" for one in instances):
        found.append(Finding("burned_in", "BurnedInAnnotation is YES"))
    return found + contradictions.found(instances)


def of_volumes(found: Exception | Sequence[Volume]) -> list[Finding]:
    """Returns what reading a series told, as findings: a refusal's, or those of its volumes, each once.

    Args:
        found: What `volumes.read_volumes` raised, or returned.
    """
    if isinstance(found, Exception):
        return words.refused(str(found))
    told = [finding for volume in found for finding in words.said(volume.findings, volume.meta["Modality"])]
    return list(dict.fromkeys(told))


def judge(findings: Iterable[Finding], rules: config.Curate) -> bool:
    """Tells whether a series is kept: no rule is broken, and no fault is found that is not accepted.

    A person's word, `overruled`, goes before.
    """
    names = {finding.name for finding in findings}
    if "left_out_by_person" in names:
        return False
    if "kept_by_person" in names:
        return True
    if any(KINDS[name].severity == "rule" for name in names):
        return False
    faults = {name for name in names if KINDS[name].severity == "fault"} - set(rules.accepted)
    return rules.faults == "keep" or not faults


def _first(instances: Iterable[scan.Instance], keyword: str) -> str:
    return next((one[keyword] for one in instances if one[keyword]), "")


def _words(instances: Iterable[scan.Instance]) -> str:
    return " ".join(filter(None, (_first(instances, "SeriesDescription"), _first(instances, "ProtocolName"))))


def _untold(what: str) -> Finding:
    return Finding("untold", f"a rule asks for the {what}, the headers do not tell it")


def _compared(name: str, what: str, told: Iterable[str], asked: Sequence[str]) -> list[Finding]:
    """Returns a finding where nothing that is told was asked for; case does not matter."""
    if not asked:
        return []
    known = {text.strip().lower() for text in told if text.strip()}
    if not known:
        return [_untold(what)]
    if known & {text.strip().lower() for text in asked}:
        return []
    return [Finding(name, f"{what}: {_NOT_ASKED.format(' or '.join(asked), 'another')}")]


def _by_value(instances: Sequence[scan.Instance], rules: config.Curate) -> list[Finding]:
    words_said, kernel = _words(instances), _first(instances, "ConvolutionKernel")
    use = facts.kernel(kernel)
    smooth_or_sharp = [hint for hint, uses in zip(_HINTS, (_SHARP, _SMOOTH)) if use in uses]
    phase = facts.phase(words_said, _seconds(instances), with_contrast=_contrast(instances) == "with")
    return [
        *_compared("plane_not_asked", "plane", _planes(instances), rules.planes),
        *_compared("body_part_not_asked", "body part", [_first(instances, "BodyPartExamined")], rules.body_parts),
        *_compared("kernel_not_asked", "kernel", [*kernel.split("\\"), use, *smooth_or_sharp], rules.kernels),
        *_compared("phase_not_asked", "contrast phase", phase.split("+"), rules.phases),
        *_compared(
            "contrast_not_asked", "contrast", [_contrast(instances)], [rules.contrast] if rules.contrast else []
        ),
    ]


def _planes(instances: Iterable[scan.Instance]) -> list[str]:
    """Returns the plane of all slices; several count as oblique, and are none that one asks for."""
    orientations = {one["ImageOrientationPatient"] for one in instances if one["ImageOrientationPatient"]}
    told = [facts.numbers(text, 6) for text in orientations]
    where = {found[0] for found in (facts.plane(numbers) for numbers in told if numbers) if found is not None}
    return sorted(where) if len(where) < 2 else ["several"]


def _contrast(instances: Sequence[scan.Instance]) -> str:
    hint = facts.contrast(_first(instances, "ContrastBolusAgent"), _words(instances))
    return {"yes": "with", "no": "without"}.get(hint, "")


def _seconds(instances: Sequence[scan.Instance]) -> float | None:
    begun = facts.seconds_of_day(_first(instances, "ContrastBolusStartTime"))
    taken = facts.seconds_of_day(_first(instances, "AcquisitionTime"))
    return None if begun is None or taken is None else taken - begun


def _by_number(instances: Sequence[scan.Instance], rules: config.Curate) -> list[Finding]:
    count, spacing = _slices(instances)
    pixel = facts.numbers(_first(instances, "PixelSpacing") or _first(instances, "ImagerPixelSpacing"), 2)
    thickness = facts.numbers(_first(instances, "SliceThickness"), 1)
    return [
        *_between("number_of_slices_not_asked", "number of slices", [count], rules.num_slices),
        *_between(
            "slice_spacing_not_asked", "slice spacing", [] if spacing is None else [spacing], rules.slice_spacing_mm
        ),
        *_between("pixel_spacing_not_asked", "pixel spacing", pixel or (), rules.pixel_spacing_mm),
        *_between("slice_thickness_not_asked", "slice thickness", thickness or (), rules.slice_thickness_mm),
    ]


def _between(name: str, what: str, told: Sequence[float], asked: Sequence[float]) -> list[Finding]:
    if not asked:
        return []
    if not told:
        return [_untold(what)]
    least, most = min(asked), max(asked)
    if all(least <= value <= most for value in told):
        return []
    shown = " x ".join(f"{value:g}" for value in told)
    return [Finding(name, f"{what}: {_NOT_ASKED.format(f'{least:g} to {most:g}', shown)}")]


def _slices(instances: Sequence[scan.Instance]) -> tuple[int, float | None]:
    """Returns the number of places of slices (of images, where they have none) and the step between them, mm."""
    each = {one["SOPInstanceUID"] or str(one.path): one for one in instances}.values()
    frames = sum(max(1, int((facts.numbers(one["NumberOfFrames"], 1) or (1.0,))[0])) for one in each)
    told_mm = facts.numbers(_first(instances, "SpacingBetweenSlices"), 1)
    spacing = None if told_mm is None else told_mm[0]
    placed = [
        (facts.numbers(o["ImagePositionPatient"], 3), facts.numbers(o["ImageOrientationPatient"], 6)) for o in each
    ]
    known = [(position, orientation) for position, orientation in placed if position and orientation]
    if frames > len(each) or len(known) < len(each) or not known:
        return frames, spacing
    orientations = np.array([orientation for _, orientation in known])
    if np.ptp(orientations, axis=0).max() > 0.01:  # several stacks
        return frames, spacing
    lie = facts.places(np.array([position for position, _ in known]), known[0][1])
    if lie is None:
        return frames, spacing
    return lie.num_positions, spacing if lie.spacing_mm is None else lie.spacing_mm


def _by_kind(instances: Sequence[scan.Instance], rules: config.Curate) -> list[Finding]:
    types = [one["ImageType"].split("\\") for one in instances]
    said = _words(instances)
    found = []
    if rules.localizers == "leave_out" and any(facts.is_localizer(one["ImageType"], said) for one in instances):
        found.append(Finding("localizer", "ImageType or the description tells of a localizer"))
    if rules.derived == "leave_out" and any(parts[0] == "DERIVED" for parts in types):
        found.append(Finding("derived", "ImageType begins with DERIVED"))
    captured = any(one["SOPClassUID"].startswith(_SECONDARY_CAPTURE) for one in instances)
    if rules.secondary == "leave_out" and (captured or any(parts[1:2] == ["SECONDARY"] for parts in types)):
        found.append(Finding("secondary", "a secondary capture, by ImageType or SOPClassUID"))
    return found


Decision = Literal["keep", "leave_out"]
_COLUMNS = ("SeriesInstanceUID", "decision", "by", "date", "reason")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@dataclass(frozen=True)
class Override:
    """A person's word on one series.

    Attributes:
        decision: What becomes of it, whatever was found.
        by: Who says so: a role or pseudonym.
        date: When, YYYY-MM-DD.
        reason: Why.
    """

    decision: Decision
    by: str
    date: str
    reason: str


def read_overrides(path: Path) -> dict[str, Override]:
    """Returns the overrides of a CSV table by SeriesInstanceUID.

    The table has the columns SeriesInstanceUID, decision (keep or leave_out), by, date (YYYY-MM-DD) and reason; all of
    them are needed, as what a person overrules is to be answered for.

    Raises:
        OverrideError: A column is absent or a row is not as it should be; the message names the lines.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, restkey="")
            absent = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
            if absent:
                raise OverrideError(f"the table of overrides has no column {', '.join(absent)}; it needs all of them")
            rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OverrideError(
            f"the table of overrides, {path.name}, cannot be read ({type(error).__name__}): a CSV file was expected"
        ) from None
    found: dict[str, Override] = {}
    wrong = []
    for line, row in rows:
        cells = {name: (row[name] or "").strip() for name in _COLUMNS}
        uid = cells["SeriesInstanceUID"]
        problem = "the series has a row above" if uid in found else _problem(cells)
        if problem:
            wrong.append(f"line {line}: {problem}")
        else:
            decision: Decision = "keep" if cells["decision"] == "keep" else "leave_out"
            found[uid] = Override(decision, cells["by"], cells["date"], cells["reason"])
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise OverrideError(f"overrides that cannot be honoured: {'; '.join(wrong[:5])}{more}")
    return found


def _problem(cells: Mapping[str, str]) -> str:
    if not _UID.fullmatch(cells["SeriesInstanceUID"]):
        return "SeriesInstanceUID is no UID (digits and points)"
    if cells["decision"] not in get_args(Decision):
        return "decision is neither keep nor leave_out"
    empty = [name for name in ("by", "reason") if not cells[name]]
    if empty:
        return f"{' and '.join(empty)} must not be empty"
    return "" if _DAY.fullmatch(cells["date"]) else "date is not of the form YYYY-MM-DD"


def overruled(uid: str, overrides: Mapping[str, Override]) -> list[Finding]:
    """Returns a person's word on a series as a finding, to stand among the others for `judge`; none where nobody spoke.

    Who, when and why stay in the table: they are a person's own words, and may name a patient.
    """
    given = overrides.get(uid)
    if given is None:
        return []
    name = "kept_by_person" if given.decision == "keep" else "left_out_by_person"
    return [Finding(name, f"{given.decision} by the table of overrides, of {given.date}")]


def unmatched(overrides: Mapping[str, Override], uids: Iterable[str]) -> list[Finding]:
    """Returns a finding where overrides are of series that are not there.

    Args:
        overrides: By SeriesInstanceUID.
        uids: Of all series that are there.
    """
    left = len(set(overrides) - set(uids))
    return [Finding("override_without_series", f"{left} overrides are of series that are not there")] if left else []
