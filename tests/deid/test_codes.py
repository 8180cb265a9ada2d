"""Codes of public schemes stay, all others go."""

import hypothesis
import pytest
from hypothesis import strategies as st
from pydicom.sr import codedict

from radkit.deid import codes


@pytest.mark.parametrize(
    ("value", "scheme", "meaning", "clean"),
    [
        ("39607008", "SCT", "Lung of Jane Roe", ("39607008", "SCT", "Lung")),
        ("T-28000", "SRT", "Jane", ("T-28000", "SRT", "Lung")),
        ("T-28000", "SNM3", "Jane", ("T-28000", "SNM3", "Lung")),
        ("121060 ", "DCM\0", "Jane", ("121060", "DCM", "History")),
        ("mm", "UCUM", "Jane", ("mm", "UCUM", "mm")),
        # Not in the dictionaries, but well-formed: RadLex's, SNOMED CT's own example, a newer DICOM code, LOINC's.
        ("RID1301", "RADLEX", "Lung of Roe", ("RID1301", "RADLEX", "Lung")),
        ("900000000000207008", "SCT", "Roe", ("900000000000207008", "SCT", "ANONYMIZED")),
        ("139999", "DCM", "CT Chest Roe", ("139999", "DCM", "CT Chest")),
        ("2160-0", "LN", "Creatinine", ("2160-0", "LN", "ANONYMIZED")),
        ("C34.10", "I10", "Cancer of lung", ("C34.10", "I10", "Cancer lung")),
        ("S52.521A", "I10", "Fracture", ("S52.521A", "I10", "Fracture")),
        ("BW24ZZZ", "I10P", "CT Chest", ("BW24ZZZ", "I10P", "CT Chest")),
        ("71260", "C4", "CT Chest with contrast", ("71260", "C4", "CT Chest with contrast")),
        ("en-US", "RFC5646", "Roe", ("en-US", "RFC5646", "ANONYMIZED")),
    ],
)
def test_codes_of_public_schemes_stay(value: str, scheme: str, meaning: str, clean: tuple[str, str, str]) -> None:
    assert codes.clean(value, scheme, meaning) == clean


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        ("CTCHEST", "99LOCAL"), ("121060", "99DCM"), ("121060", "L"), ("121060", ""), ("", "DCM"), ("", ""),
        ("C123", "LN"), ("", "LN"), ("ROE^JANE", "DCM"), ("1234567", "DCM"), ("999999", "DCM"),
        ("39607009", "SCT"), ("12345", "SCT"), ("19500102", "SCT"), ("T-ROE00", "SRT"), ("2160-1", "LN"),
        ("RIDROE", "RADLEX"), ("mm{Roe}", "UCUM"), ("Roe", "UCUM"), ("45", "UCUM"), ("1950", "UCUM"), ("Roe", "FMA"),
        ("{Roe}g/ml", "UCUM"),
        ("C12ROE", "NCIt"), ("C34.ROE1", "I10"), ("90210", "C4"), ("ROE1", "IBSI"), ("39607008\n", "SCT"),
    ],
)  # fmt: skip
def test_what_may_say_anything_goes(value: str, scheme: str) -> None:
    assert codes.clean(value, scheme, "Chest") == ("ANONYMIZED", "99RADKIT", "ANONYMIZED")


@pytest.mark.parametrize(
    "unit",
    ["1", "%", "mm", "cm2", "ms", "mmol/l", "m/s2", "10*3/uL", "mm[Hg]", "s/mm2", "mGy.cm", "/min", "[hnsf'U]", "deg",
     "kg/m2", "mL/min", "{SUVbw}g/ml", "{SUVbsa}cm2/ml", "{ratio}"],
)  # fmt: skip
def test_units_are_well_formed(unit: str) -> None:
    assert codes.is_well_formed(unit, "UCUM")


# Of SNOMED International's list of check digits and of Verhoeff's own example 236 -> 3.
@pytest.mark.parametrize("value", ["73211009", "22298006", "138875005", "900000000000441003"])
def test_a_check_digit_catches_each_single_error(value: str) -> None:
    assert codes.is_well_formed(value, "SCT")
    for place, digit in enumerate(value):
        for other in set("0123456789") - {digit}:
            assert not codes.is_well_formed(value[:place] + other + value[place + 1 :], "SCT")


def test_dicom_s_own_codes_stay() -> None:
    for scheme in ("DCM", "SCT", "UCUM", "LN", "RADLEX"):
        collection = codedict.Collection(scheme)
        for code in list(collection.concepts.values())[:300]:
            if code.value:
                assert codes.clean(code.value, scheme, code.meaning)[:2] == (code.value, scheme)


def test_a_meaning_of_the_dictionary_stays_as_it_was() -> None:
    assert codes.clean("AU", "DCM", "basic voice audio")[2] == "Basic Voice Audio"
    assert codes.clean("AU", "DCM", "Audio")[2] == "Audio"


def test_every_meaning_fits_its_vr() -> None:
    for scheme, value in codes._dictionary():
        meaning = codes.clean(value, scheme, "")[2]
        assert 0 < len(meaning) <= 64
        assert meaning.isascii()
        assert "\\" not in meaning


@hypothesis.given(st.text(max_size=20), st.one_of(st.text(max_size=8), st.sampled_from(["DCM", "SCT"])), st.text())
def test_any_text_gives_a_code_that_is_clean(value: str, scheme: str, meaning: str) -> None:
    clean = codes.clean(value, scheme, meaning)
    assert all(clean)
    assert codes.clean(*clean) == clean
