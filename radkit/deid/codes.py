"""Cleans codes (option CleanDescriptors and structured reports): keeps those of public schemes; pure, on text."""

import functools
import re
from collections.abc import Callable

from radkit.deid import descriptors

ANONYMIZED = "ANONYMIZED"
# What stands for a code that goes: 99 begins the designators that anyone may make up (PS3.16 8.2).
UNKNOWN = (ANONYMIZED, "99RADKIT", ANONYMIZED)

# CodeMeaning is LO.
_MAX_MEANING = 64
# Earlier designators of SRT (PS3.16 8.1): the same codes, known by the same dictionary.
_ALIASES = {"SNM3": "SRT", "99SDM": "SRT"}

_SI = r"(?:[YZEPTGMkhcmunpfazyd]|da)?"
_METRIC = (
    r"(?:m|s|g|A|K|cd|mol|l|L|Hz|N|Pa|J|W|C|V|F|Ohm|S|Wb|T|H|Bq|Gy|Sv|Ci|R|eV|B|Cel|rad|sr|bar|cal|dyn|G|t"
    r"|m\[Hg\]|\[iU\])"
)
_OTHER_UNIT = r"(?:min|h|d|wk|mo|a|deg|%|''?|\[(?:ppm|ppb|hnsf'U|arb'U|Ch|mi_i|in_i|ft_i|lb_av|degF|pH)\])"
_NOTE = r"\{(?:SUVbw|SUVlbm|SUVlbm\(James128\)|SUVlbm\(Janma\)|SUVbsa|SUVibw|ratio|counts|pixels|propcounts)\}"
_UNIT = rf"(?:(?:{_SI}{_METRIC}|{_OTHER_UNIT})(?:-?[1-9])?|10[*^]-?[0-9]{{1,2}}|1)"

# The well-formed codes of the schemes of PS3.16 8.1 whose codes are the same for everyone. As narrow as may be: a
# record number in a code's place should not pass. Of UCUM no annotation in braces, which is free text, but those that
# DICOM's own units have (PS3.16 CID 83 to 85).
_PATTERNS = {
    scheme: re.compile(pattern)
    for scheme, pattern in {
        "DCM": r"1[0-3][0-9]{4}",
        "SCT": r"[1-9][0-9]{2,14}[01]0[0-9]",
        "LN": r"[0-9]{1,5}-[0-9]",
        "SRT": r"(?:[A-Z]|[A-Z][0-9A-F])-[0-9A-F]{4,5}",
        "RADLEX": r"(?:RID|RPID)[0-9]{1,6}",
        "UCUM": rf"{_NOTE}|(?:{_NOTE})?/?{_UNIT}(?:[./]{_UNIT}){{0,4}}",
        "FMA": r"[0-9]{4,6}",
        "NCIt": r"C[0-9]{4,6}",
        "UMLS": r"C[0-9]{7}",
        "MSH": r"[CD][0-9]{6}(?:[0-9]{3})?",
        "I10": r"[A-Z][0-9][0-9AB](?:\.[0-9ABX]{1,3}[0-9A-Z]?)?",
        # Of procedures, those of imaging only.
        "I10P": r"B[0-9HLNRTUVWY][0-5][0-9A-HJ-NP-Z][0-9YZ][0-9AZ]{2}",
        "C4": r"7[0-9]{4}",
        "I9": r"(?:[0-9]{3}|V[0-9]{2}|E[0-9]{3})(?:\.[0-9]{1,2})?",
        "I9C": r"(?:[0-9]{3}|V[0-9]{2}|E[0-9]{3})(?:\.[0-9]{1,2})?",
        "ICDO3": r"C[0-9]{2}\.[0-9]|M?-?[89][0-9]{3}/[012369]",
        "RFC5646": r"[a-z]{2}(?:-[A-Z]{2})?",
    }.items()
}


def clean(value: str, scheme: str, meaning: str) -> tuple[str, str, str]:
    """Returns what may stay of a code, its scheme's designator and its meaning.

    A code that DICOM's own dictionaries know stays with the meaning they give it. A well-formed one of a public scheme
    stays, and of its meaning what `descriptors.clean` leaves. Any other, private ones first of all, may say anything:
    it becomes `UNKNOWN`.

    ```python
    clean("39607008", "SCT", "Lung of Jane Roe")  # ("39607008", "SCT", "Lung")
    clean("ROE^JANE", "99LOCAL", "CT Chest")  # ("ANONYMIZED", "99RADKIT", "ANONYMIZED")
    ```

    Args:
        value: CodeValue, LongCodeValue or URNCodeValue; spaces and zeros around it do not count.
        scheme: CodingSchemeDesignator.
        meaning: CodeMeaning.

    Returns:
        Value, designator and meaning: ASCII, none empty, the meaning of at most 64 characters.

    Source: DICOM PS3.15 E.3.4 and E.3.5, PS3.16 8 (coding schemes).
    """
    value, scheme = value.strip(" \0"), scheme.strip(" \0")
    meanings = _dictionary().get((_ALIASES.get(scheme, scheme), value))
    if meanings is not None:
        said = _fitting(meaning.replace("\0", "")).casefold()
        same = [known for known in meanings if known.casefold() == said]
        return value, scheme, (same or meanings)[0]
    if is_well_formed(value, scheme):
        return value, scheme, _fitting(descriptors.clean(meaning)) or ANONYMIZED
    return UNKNOWN


def is_well_formed(value: str, scheme: str) -> bool:
    """Returns whether a value is made as a public scheme makes its codes, check digit included."""
    pattern = _PATTERNS.get(scheme)
    if pattern is None or not pattern.fullmatch(value):
        return False
    check = _CHECKS.get(scheme)
    return check is None or check(value)


def _fitting(meaning: str) -> str:
    """Returns a meaning in ASCII and no longer than LO may be, cut between words."""
    meaning = " ".join(meaning.replace("µ", "u").encode("ascii", "ignore").decode().split())
    if len(meaning) <= _MAX_MEANING:
        return meaning
    return meaning[: _MAX_MEANING + 1].rpartition(" ")[0] or meaning[:_MAX_MEANING]


@functools.cache
def _dictionary() -> dict[tuple[str, str], tuple[str, ...]]:
    """Returns the meanings of every code that DICOM's dictionaries hold, by scheme and value; built on first use."""
    # Large modules: a file without codes should not wait for them. pydicom's public ones find a code by keyword only.
    from pydicom.sr import _concepts_dict, _snomed_dict

    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for scheme, concepts in _concepts_dict.concepts.items():
        for codes in concepts.values():
            for value, (meaning, _) in codes.items():
                if value:
                    known[scheme, value] = known.get((scheme, value), ()) + (_fitting(meaning),)
    for value, current in _snomed_dict.mapping["SRT"].items():
        if ("SCT", current) in known:
            known["SRT", value] = known["SCT", current]
    return known


def _has_verhoeff_digit(value: str) -> bool:
    """Returns whether the last digit is right after Verhoeff 1969, as SNOMED CT's identifiers ask."""
    sum_ = 0
    for place, digit in enumerate(reversed(value)):
        sum_ = _product(sum_, _permuted(int(digit), place))
    return sum_ == 0


def _product(left: int, right: int) -> int:
    """Returns the product in the dihedral group of order ten: 0 to 4 are turns, 5 to 9 flips."""
    if left < 5:
        return (left + right) % 5 + (5 if right >= 5 else 0)
    return (left - right) % 5 + (0 if right >= 5 else 5)


def _permuted(digit: int, times: int) -> int:
    """Returns a digit after so many of Verhoeff's permutations (1 5 8 9 4 2 7 0)(3 6)."""
    for _ in range(times % 8):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit


def _has_luhn_digit(value: str) -> bool:
    """Returns whether the digit after the dash is right modulo ten, as LOINC's codes ask."""
    doubled = (2 * int(digit) for digit in reversed(value[-3::-2]))
    once = (int(digit) for digit in value[-4::-2])
    return (sum(number // 10 + number % 10 for number in doubled) + sum(once) + int(value[-1])) % 10 == 0


_CHECKS: dict[str, Callable[[str], bool]] = {"SCT": _has_verhoeff_digit, "LN": _has_luhn_digit}
