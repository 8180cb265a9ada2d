"""What a header says of a patient, in the spellings in which it may stand in an image.

Source: DICOM PS3.15 E.3.1: what identifies in the header must not remain in the pixels.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator

import pydicom

from radkit.dicom import part10

_LEAST = 3
_DATES = frozenset(("DA", "DT"))
_TEXTS = frozenset(
    (
        "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "InstitutionName",
        "InstitutionalDepartmentName", "InstitutionAddress", "StationName", "PatientAddress", "PatientAge",
        "PatientTelephoneNumbers", "MilitaryRank", "RequestingService", "DeviceSerialNumber", "MedicalRecordLocator",
        "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest", "IssuerOfPatientID",
        "ScheduledProcedureStepID", "RequestedProcedureID", "PerformedProcedureStepID", "Occupation",
        "PatientComments", "CountryOfResidence",
    )
)  # fmt: skip
# Thousands of items that say nothing of the person.
_NOT_ENTERED = frozenset(("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "WaveformSequence"))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# What networks take for each other.
_ALIKE = str.maketrans("OQDISZBG", "00015286")
_NEAR = 0.8


def known_strings(dataset: pydicom.Dataset) -> frozenset[str]:
    """Returns what identifies in a header, plain (see `plain`): parts of names, numbers, dates in their spellings.

    Never to be shown or logged.
    """
    with part10.silence():
        return frozenset(text for text in _strings(dataset, 0) if len(text) >= _LEAST)


def plain(words: str) -> str:
    """Returns letters and digits alone, without accents, in capitals.

    >>> plain("Müller, Jörg 12.3.")
    'MULLERJORG123'
    """
    parted = unicodedata.normalize("NFKD", words)
    return "".join(sign for sign in parted if sign.isalnum()).upper()


def names_any(words: str, known: Collection[str]) -> bool:
    """Tells whether what was read holds something known, letters that look alike and a misread one in five allowed.

    >>> names_any("Narne: D0E JOHN", {"JOHN"}), names_any("T2 AXIAL", {"JOHN"})
    (True, False)
    """
    said = plain(words).translate(_ALIKE)
    for text in known:
        wanted = plain(text).translate(_ALIKE)
        if len(wanted) >= _LEAST and (wanted in said or _nearly(wanted, said)):
            return True
    return False


def _nearly(wanted: str, said: str) -> bool:
    if len(wanted) < 5 or len(said) < len(wanted) - 1:
        return False
    ends = range(max(len(said) - len(wanted), 0) + 1)
    windows = (said[start : start + len(wanted)] for start in ends)
    return any(difflib.SequenceMatcher(None, wanted, window).ratio() >= _NEAR for window in windows)


def _strings(dataset: pydicom.Dataset, depth: int) -> Iterator[str]:
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except part10.MALFORMED:
            continue  # What cannot be decoded cannot be compared; whatever was read as text goes anyway.
        if element.VR == "SQ":
            if depth < 4 and element.keyword not in _NOT_ENTERED:
                for item in element.value:
                    yield from _strings(item, depth + 1)
        elif element.VR in ("PN", "TM", *_DATES) or element.keyword in _TEXTS:
            yield from _spellings(element)


def _spellings(element: pydicom.DataElement) -> Iterator[str]:
    many = element.value if element.VM > 1 else [element.value]
    for value in many:
        said = str(value or "")
        if element.VR in _DATES:
            yield from _dates(said)
            continue
        if element.VR == "TM":
            yield plain(said)[:6]
            continue
        yield plain(said)
        yield from (plain(part) for part in re.split(r"[\s^=,;/]+", said))
        if element.keyword == "PatientAge":
            yield plain(said.lstrip("0"))


def _dates(said: str) -> Iterator[str]:
    """Yields a date's spellings, without what separates."""
    found = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", said)
    if not found:
        return
    year, month, day = found.groups()
    for written in (year, year[2:]):
        yield from (written + month + day, day + month + written, month + day + written)
    if 1 <= int(month) <= 12:
        name = _MONTHS[int(month) - 1]
        for number in {day, day.lstrip("0")}:
            yield from (number + name + year, name + number + year, year + name + number)
