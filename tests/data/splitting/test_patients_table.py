"""Tables of patients and studies: what is read, what is refused, and what headers say where there is none."""

import sys
from pathlib import Path

import pytest

from radkit import config
from radkit.data.splitting import patients_table
from radkit.data.splitting.patients_table import Known
from radkit.dicom import scan
from radkit.errors import UserError

STUDY = "1.2.3"
HEADER = {"PatientID": "P1", "StudyInstanceUID": STUDY, "StudyDate": "20230607", "Manufacturer": "ACME"}


def header(keyword: str) -> str:
    return HEADER.get(keyword, "")


def data(**split: object) -> config.Data:
    return config.Data("d", split=config.Split(**split))  # type: ignore[arg-type]


TEMPORAL = data(test="temporal", test_from="2024-01-01")


def table(tmp_path: Path, text: str, wanted: config.Data, encoding: str = "utf-8") -> patients_table.Table:
    path = tmp_path / "patients.csv"
    path.write_text(text, encoding=encoding)
    return patients_table.read(path, wanted)


def known(tmp_path: Path, text: str, wanted: config.Data) -> Known:
    return patients_table.known(table(tmp_path, text, wanted), wanted, header)


def test_what_is_said_of_a_study_goes_before_what_is_said_of_its_patient(tmp_path: Path) -> None:
    text = f"PatientID,StudyInstanceUID,site,date\nP1,,A,2024-02-03\nP1,{STUDY},B,\nP2,,C,20250101\n"
    assert known(tmp_path, text, TEMPORAL) == Known("2024-02-03", "B")
    assert known(tmp_path, text.replace(",B,", ",B,20240304"), TEMPORAL) == Known("2024-03-04", "B")


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-8")])
def test_spreadsheets_programs_write_it_in_their_ways(tmp_path: Path, separator: str, encoding: str) -> None:
    text = "PatientID,site\n P1 , Süd \n\n".replace(",", separator)
    assert patients_table.known(table(tmp_path, text, data(), encoding), data(), header).site == "Süd"


def test_headers_count_where_the_table_has_no_such_column(tmp_path: Path) -> None:
    wanted = data(test="temporal", test_from="2024-01-01", site="Manufacturer", stratify=("site", "StudyDate", "label"))
    assert patients_table.known(None, wanted, header) == Known("2023-06-07", "ACME", "", ("ACME", "20230607", ""))
    # In a table's column nothing is made up for a patient without a row: who is not in it is not known.
    assert known(tmp_path, "PatientID,date\nP7,20240101\n", TEMPORAL) == Known()


def test_columns_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    text = "PatientID,date,split,site\nP1,no day,half,A\n"
    assert known(tmp_path, text, data()) == Known("2023-06-07", "A")


def test_original_identifiers_are_renamed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("PatientID,StudyInstanceUID,split\nMRN,,test\nMRN,9.9,test\n")
    wanted = data(test="explicit")
    found = patients_table.read(tmp_path / "t.csv", wanted, lambda column, value: f"{column}:{value}")
    assert found.of_patient == {"PatientID:MRN": {"split": "test"}}
    assert found.of_study == {"StudyInstanceUID:9.9": {"split": "test"}}


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        ("site\nA\n", data(), "has the columns site; PatientID or StudyInstanceUID and one of site were expected"),
        ("PatientID,age\nP1,3\n", data(), "PatientID or StudyInstanceUID and one of site were expected"),
        ("PatientID,site,site\nP1,A,B\n", data(), "the column site more than once"),
        ("PatientID,site\n,A\n", data(), "line 2: PatientID and StudyInstanceUID are empty"),
        ("PatientID,site\nP1,A,B\n", data(), "line 2: more values than the 2 columns"),
        ("PatientID,site\nP1,A\nP1,B\n", data(), "lines 2 and 3 say different things of one patient"),
        ("StudyInstanceUID,site\n1.2E+10,A\n", data(), "line 2: StudyInstanceUID was rounded, as Excel does"),
        ("PatientID,date\nP1,1/2/24\n", TEMPORAL, "line 2: date is none; YYYY-MM-DD or YYYYMMDD was expected"),
        ("PatientID,split\nP1,tset\n", data(test="explicit"), r"line 2: split is none of train, .*did you mean 'test'"),
        ("", data(), "PatientID or StudyInstanceUID and one of site were expected"),
        ("PatientID,site,Date\nP1,A,2024-01-01\n", TEMPORAL, "has the column 'Date'; 'date' is read: rename it"),
        ('PatientID,site\nP1,"A\nP2,B\n', data(), "line 2: a quote that opens a cell must close it"),
        ('PatientID,site\nP0,A\nP1,"A\nP2,"B"\n', data(), "line 3: a quote that opens a cell must close it"),
        (
            "P\0\xff",
            data(),
            "were expected" if sys.version_info >= (3, 11) else "is no CSV file",
        ),  # older ones read no 0
    ],
)
def test_a_table_that_says_nothing_or_too_much_is_refused(
    tmp_path: Path, text: str, wanted: config.Data, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        table(tmp_path, text, wanted)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PatientID,site\n\xff\xfe\xfa,A\n")
    with pytest.raises(UserError, match=r"a\.csv is no CSV file in UTF-8"):
        patients_table.read(tmp_path / "a.csv", data())
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"is a folder|does not exist"):
            patients_table.read(path, data())


@pytest.mark.parametrize(
    ("wanted", "text", "said"),
    [
        (data(test="geographic", test_sites=("A",)), "", "asks for 'site', which is in no patients table"),
        (data(stratify=("site",), site="Manufacturr"), "", "did you mean 'Manufacturer'"),
        (data(stratify=("stage",)), "PatientID,site\nP1,A\n", "'stage', which is no column of --patients patients.csv"),
        (data(test="temporal", test_from="2024-01-01", date="day"), "", "data.split.date asks for 'day', which is"),
        (data(test="explicit"), "", "needs a column 'split' .* it is in no patients table, as none was given"),
    ],
)  # fmt: skip
def test_what_neither_table_nor_headers_have_is_refused(
    tmp_path: Path, wanted: config.Data, text: str, said: str
) -> None:
    found = table(tmp_path, text, wanted) if text else None
    with pytest.raises(UserError, match=said):
        patients_table.require(found, wanted)


def test_what_is_there_is_enough(tmp_path: Path) -> None:
    for wanted in (data(), TEMPORAL, data(test="temporal", test_from="2024-01-01", date="AcquisitionDate")):
        patients_table.require(None, wanted)
    patients_table.require(None, data(stratify=("label", "site", "PatientSex"), site="Manufacturer"))
    wanted = data(test="explicit", stratify=("stage",))
    patients_table.require(table(tmp_path, "PatientID,split,stage\nP1,test,2\n", wanted), wanted)


def test_patients_without_a_row_are_told_of_and_a_table_of_others_is_refused(tmp_path: Path) -> None:
    found = table(tmp_path, "PatientID,StudyInstanceUID,site\nP1,,A\n,1.5,B\n", data())
    images = [
        scan.Instance(Path("a"), {"PatientID": f"P{n}", "StudyInstanceUID": f"1.{n}"}) for n in (1, 2, 5)
    ]  # fmt: skip
    assert found.strangers(images, {"P1", "P5"}) == []
    (said,) = found.strangers(images, {"P1", "P2", "P5"})
    assert (said.name, said.text, said.count) == ("remark", "patients.csv: 1 of 3 patients have no row", 1)
    assert found.strangers(images, set()) == []
    with pytest.raises(UserError, match=r"no row of any of the 1 patients; .* the original ones with --key"):
        found.strangers(images, {"P2"})
