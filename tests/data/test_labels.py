"""The labels table: what is read, what is refused, and what becomes of several rows of one image."""

import dataclasses
import functools
import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from radkit import config
from radkit.data import labels, readers
from radkit.dicom import scan
from radkit.errors import UserError
from tests import conftest, work

READS_ZEROS = sys.version_info >= (3, 11)  # as Python's csv does
KEYS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")
LABELLED = config.Data(dataset="l", kind="radiograph", image_size=(8, 8), label="ill", class_names=("no", "yes"))


def read(folder: Path, text: str | bytes, rename: object = None, **wishes: object) -> labels.Labels:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    data = dataclasses.replace(LABELLED, annotations=config.Annotations(**wishes))
    return labels.Labels(path, data, rename)


def instance(**values: str) -> scan.Instance:
    return scan.Instance(Path("image"), {"PatientID": "P000", **values})


def names(table: labels.Labels) -> dict[str, int]:
    """Returns the findings' kinds and the first number in each text."""
    return {f.name: int(f.text.partition(": ")[2].split()[0]) for f in table.findings}


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "PatientID,ill\nP000,yes\nP001,no\n",
            "PatientID,ill\nP000,1\nP001,0\n",
            "PatientID;ill\nP000;yes\nP001;no\n",
            "PatientID\till\nP000\tyes\nP001\tno\n",
            "sep=;\r\nPatientID;ill\r\nP000;yes\r\nP001;no\r\n",
            '"sep=|"\nPatientID|ill\nP000|yes\nP001|no\n',
            'note;"PatientID";ill\n"a, b; c, d";P000;yes\n,;P001;no\n',
            "\ufeffill,PatientID\r\nyes,P000\r\nno,P001\r\n",
            "\ufeffPatientID\till\nP000\tyes\nP001\tno\n".encode("utf-16-le"),
            "PatientID,ill\nP000,yes\nP001,no\n".encode("utf-16"),
            "age,ill,PatientID\n3,yes,P000\n4, no , P001\n,,\n5,,P002\n",
            ' PatientID ,note,ill\n"P000","a, b\nc",yes\nP001,,no\nP000,again,yes\n',
            "PatientID,ill,Reader,DATE,reference_standard\nP000,yes\nP001,no\n\n",
        ],
    )
    def test_tables_that_say_the_same(self, tmp_path: Path, text: str | bytes) -> None:
        for patient in range(3):
            conftest.write_radiograph(tmp_path / "dicom", patient, 0, 0)
        table = read(tmp_path, text)
        found = {i["PatientID"]: table.of(i) for i in map(scan.read_instance, scan.find(tmp_path / "dicom"))}
        assert found == {"P000": labels.Label(1), "P001": labels.Label(0), "P002": None}
        assert len(table) == 2

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has the columns none that is known among its 0"),
            ("PatientID|ill\nP000|yes\n", r"has the columns PatientID\|ill"),
            ("patient,ill\nP000,yes\n", "one of SOPInstanceUID"),
            ("PatientID,sick\nP000,yes\n", "'ill' were expected"),
            ("PatientID,ill\nP000,yes\nP001,perhaps\n", "line 3: class 'perhaps' is none of no, yes"),
            ("PatientID,ill\nP000,yess\n", r"did you mean 'yes'.*unknown_class='leave_out'"),
            ("PatientID,ill\nP000,yes\nP000,no\n", "line 3: the same PatientID had another class"),
            ("PatientID,ill\n,yes\n", "line 2: PatientID is empty"),
            ("sep=,\nPatientID,ill\n,yes\n", "line 3: PatientID is empty"),
            ("ill,PatientID\nyes\n", "line 2: PatientID is empty"),
            ("PatientID,ill,ill\nP000,yes,no\n", "the column ill more than once"),
            ("PatientID,PatientID,ill\nP000,P001,no\n", "the column PatientID more than once"),
            ("PatientID,ill,reader,Reader\nP000,no,a,b\n", "the column reader more than once"),
            ("PatientID,ill\nP000,yes\nP001,no,yes\n", "line 3: more values than the 2 columns"),
            ("PatientID;ill\nP000;yes\nP001;no;yes\n", "line 3: more values than the 2 columns"),
            ("PatientID,ill\nM\u00fcller,yes\n".encode("latin-1"), "no CSV file in UTF-8"),
            (b"\xff\xfeP\x00,", "no CSV file in UTF-8"),
            (
                b"PatientID,ill\nP0\x00,yes\n" + b'"' + b"x" * 200_000,
                f"line {3 if READS_ZEROS else 2}: a quote that opens a cell",
            ),
            ("SOPInstanceUID,ill\n1.2826E+30,yes\n", "line 2: SOPInstanceUID was rounded, as Excel"),
            ("PatientID,ill,date\nP0,yes,\nP1,yes,3/4/2020\n", "line 3: date is none; YYYY-MM-DD"),
            ("PatientID,ill,date\nP0,yes,20200230\n", "line 2: date is none"),
            ("PatientID,ill,date\nP0,yes,2020-3-4\n", "line 2: date is none"),
            ("PatientID,ill,reference_standard\nP0,yes,histologie\n", "line 2: .*did you mean 'histology'"),
        ],
    )
    def test_a_table_that_cannot_be_read_says_why(self, tmp_path: Path, text: str | bytes, message: str) -> None:
        with pytest.raises(UserError, match=message) as error:
            read(tmp_path, text)
        assert not {"P000", "P001", "M\u00fcller", "3/4/2020", "20200230"} & set(
            str(error.value).replace(",", " ").split()
        )

    def test_a_missing_table_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"nowhere\.csv does not exist"):
            labels.Labels(tmp_path / "nowhere.csv", LABELLED)

    @pytest.mark.parametrize("date", ["2020-02-29", "20200229"])
    def test_who_said_it_when_and_on_what_ground_is_kept(self, tmp_path: Path, date: str) -> None:
        text = f"PatientID,ill,reader,date,reference_standard\nP000,yes,ann,{date},histology\n"
        assert read(tmp_path, text).of(instance()) == labels.Label(1, "ann", "2020-02-29", "histology")

    def test_the_label_column_may_bear_an_optional_columns_name(self, tmp_path: Path) -> None:
        path = tmp_path / "l.csv"
        path.write_text("PatientID,reader\nP000,yes\n")
        table = labels.Labels(path, dataclasses.replace(LABELLED, label="reader"))
        assert table.of(instance()) == labels.Label(1)

    def test_the_work_is_as_many_times_as_much_as_the_rows(self, tmp_path: Path) -> None:
        def rows(count: int) -> str:
            lines = (f"1.2.3.{n},P{n // 9},{n % 2},ann,20200101\n" for n in range(count))
            return "SOPInstanceUID,PatientID,ill,reader,date\n" + "".join(lines)

        assert len(read(tmp_path, rows(100_000))) == 100_000
        few, many = (work.calls(functools.partial(read, tmp_path, rows(count))) for count in (2000, 8000))
        assert many < 4.2 * few


class TestIdentifiers:
    OWN = {"SOPInstanceUID": "1.1", "SeriesInstanceUID": "1.2", "StudyInstanceUID": "1.3", "PatientID": "P000"}

    @pytest.mark.parametrize("columns", [c for n in range(1, 5) for c in itertools.combinations(KEYS, n)])
    def test_the_most_specific_finds_the_image_and_the_others_must_agree(
        self, tmp_path: Path, columns: tuple[str, ...]
    ) -> None:
        image = instance(**self.OWN)
        row = {column: self.OWN[column] for column in columns}
        head = ",".join((*reversed(columns), "ill"))
        table = read(tmp_path, f"{head}\n{','.join(reversed(row.values()))},yes\n")
        assert table.key == columns[0]
        assert table.of(image) == labels.Label(1)
        assert table.of(instance(**{**self.OWN, columns[0]: "9.9"})) is None
        for other in columns[1:]:
            with pytest.raises(UserError, match=f"line 2: the image of this {columns[0]} has another {other}"):
                table.of(instance(**{**self.OWN, other: "9.9"}))

    def test_an_identifier_that_is_not_said_contradicts_nothing(self, tmp_path: Path) -> None:
        table = read(tmp_path, "SOPInstanceUID,PatientID,ill\n1.1,,yes\n1.2,P000,no\n")
        assert table.of(instance(SOPInstanceUID="1.1")) == labels.Label(1)
        assert table.of(scan.Instance(Path("x"), {"SOPInstanceUID": "1.2"})) == labels.Label(0)

    def test_rows_of_one_image_must_agree_on_its_other_identifiers(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="line 3: the same SOPInstanceUID had another PatientID before"):
            read(tmp_path, "SOPInstanceUID,PatientID,ill,reader\n1.1,P0,yes,a\n1.1,P1,yes,a\n")

    def test_original_identifiers_are_renamed_as_the_images_were(self, tmp_path: Path) -> None:
        renamed = {("SOPInstanceUID", "8.8"): "1.1", ("PatientID", "Smith"): "P000"}
        text = "SOPInstanceUID,PatientID,ill\n8.8,Smith,yes\n"
        table = read(tmp_path, text, rename=lambda column, value: renamed[column, value])
        assert table.of(instance(SOPInstanceUID="1.1")) == labels.Label(1)

    def test_a_volume_has_the_label_of_any_of_its_instances(self, tmp_path: Path) -> None:
        table = read(tmp_path, "SOPInstanceUID,ill\n1.3,yes\n1.5,yes\n2.1,no\n2.2,yes\n")
        series = [instance(SOPInstanceUID=f"1.{n}") for n in range(9)]
        assert table.of_any(series) == labels.Label(1)
        assert table.of_any(series[:3]) is None
        assert not table.findings
        assert table.of_any([instance(SOPInstanceUID=uid) for uid in ("2.1", "2.2")]) is None
        assert names(table) == {"contradicting_rows": 1}

    def test_rows_without_images_are_counted_and_never_named(self, tmp_path: Path) -> None:
        text = "PatientID,ill\n" + "".join(f"P00{n},yes\n" for n in range(5))
        table = read(tmp_path, text)
        assert table.unused([instance()]) == 4
        assert names(table) == {"labels_without_images": 4}
        assert "P00" not in table.findings[0].text
        assert table.unused([instance(PatientID=f"P00{n}") for n in range(7)]) == 0
        assert not table.findings
        with pytest.raises(UserError, match="4 of 5 PatientID values are no image's"):
            read(tmp_path, text, without_image="refuse").unused([instance()])


class TestSeveralRows:
    def test_the_same_row_again_counts_once_and_is_a_finding(self, tmp_path: Path) -> None:
        table = read(tmp_path, "PatientID,ill,reader\n" + "P000,yes,ann\n" * 3 + "P001,no,ann\n")
        assert table.of(instance()) == labels.Label(1, "ann")
        assert names(table) == {"duplicate_rows": 2}

    def test_a_reader_who_says_otherwise_is_refused_or_the_first_row_stands(self, tmp_path: Path) -> None:
        text = "PatientID,ill,reader\nP000,yes,ann\nP001,no,ann\nP000,no,ann\n"
        with pytest.raises(UserError, match=r"line 4: the same PatientID .*reader ann.*duplicates='first'"):
            read(tmp_path, text)
        table = read(tmp_path, text, duplicates="first")
        assert table.of(instance()) == labels.Label(1, "ann")
        assert names(table) == {"contradicting_rows": 1}

    def test_classes_that_the_config_does_not_know_can_be_left_out(self, tmp_path: Path) -> None:
        table = read(tmp_path, "PatientID,ill\nP000,maybe\nP001,no\nP002,\n", unknown_class="leave_out")
        assert table.of(instance()) is None
        assert names(table) == {"unknown_class": 1}

    THREE = "PatientID,ill,reader,date\nP000,yes,cy,20200101\nP000,no,bo,20200301\nP000,yes,al,20200201\n"

    def test_several_readers_are_refused_unless_a_setting_says_how(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"1 PatientID values .*\(al, bo, cy\); data\.annotations\.several="):
            read(tmp_path, self.THREE)
        for how in ("majority", "staple"):
            assert read(tmp_path, self.THREE, several=how).of(instance()) == labels.Label(1, "al, cy", "2020-02-01")
        first = read(tmp_path, self.THREE, several="first")
        assert first.of(instance()) == labels.Label(1, "al", "2020-02-01")
        assert names(first) == {"several_readers": 1}
        chosen = read(tmp_path, self.THREE, several="first", readers=("bo", "al"))
        assert chosen.of(instance()) == labels.Label(0, "bo", "2020-03-01")
        assert read(tmp_path, self.THREE, readers=("bo",)).of(instance()) == labels.Label(0, "bo", "2020-03-01")
        with pytest.raises(UserError, match=r"none of 3 rows is of data\.annotations\.readers"):
            read(tmp_path, self.THREE, readers=("bob",))

    def test_a_tie_is_no_label_and_goes_to_adjudication(self, tmp_path: Path) -> None:
        text = "PatientID,ill,reader\nP000,yes,ann\nP000,no,bob\nP001,yes,ann\nP001,yes,bob\n"
        table = read(tmp_path, text, several="majority")
        assert table.of(instance()) is None
        assert table.of(instance(PatientID="P001")) == labels.Label(1, "ann, bob")
        assert names(table) == {"contradicting_rows": 1, "several_readers": 2}
        row = table.disagreement("1.2.3", [instance()])
        assert row is not None
        assert tuple(row) == readers.COLUMNS
        assert (row["record_uid"], row["readers"]) == ("1.2.3", "ann; bob")
        assert row["reason"] == "classes differ (ann: yes; bob: no)"
        assert table.disagreement("1.2.3", [instance(PatientID="P001")]) is None

    def test_reference_standards_are_not_mixed(self, tmp_path: Path) -> None:
        text = "PatientID,ill,reader,reference_standard\nP000,yes,lab,histology\nP000,no,ann,reader\n"
        with pytest.raises(UserError, match="line 3: the same PatientID rests on histology before and on reader here"):
            read(tmp_path, text, several="majority")
        table = read(tmp_path, text, reference_standards=("histology",))
        assert table.of(instance()) == labels.Label(1, "lab", "", "histology")
        agreed = text.replace("histology", "reader").replace("no", "yes")
        assert read(tmp_path, agreed, several="majority").of(instance()) == labels.Label(1, "ann, lab", "", "consensus")

    @pytest.mark.parametrize("seed", range(20))
    def test_the_majority_is_a_count_of_votes(self, tmp_path: Path, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = [
            (f"P{patient}", int(rng.integers(2)), f"r{reader}")
            for patient in range(12)
            for reader in range(int(rng.integers(0, 6)))
        ]
        rng.shuffle(rows)  # type: ignore[arg-type]
        text = "PatientID,ill,reader\n" + "".join(f"{p},{value},{reader}\n" for p, value, reader in rows)
        table = read(tmp_path, text, several="majority")
        for patient in {p for p, _, _ in rows}:
            votes = Counter(int(value) for p, value, _ in rows if p == patient)
            found = table.of(instance(PatientID=patient))
            assert (None if found is None else found.value) == (
                None if votes[0] == votes[1] else max(votes, key=lambda value: votes[value])
            )


def test_a_first_line_that_is_a_row_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none that is known among its 2") as caught:
        read(tmp_path, "MRN4711,yes\nMRN4712,no\n")
    assert "MRN" not in str(caught.value)


def test_original_dates_do_not_come_along_with_original_identifiers(tmp_path: Path) -> None:
    table = read(tmp_path, "PatientID,ill,date\nA,yes,2026-02-01\n", rename=lambda column, value: value)
    found = table.of(instance(PatientID="A"))
    assert found is not None
    assert not found.date
    assert [(one.name, one.count) for one in table.findings if one.name == "remark"] == [("remark", 1)]


@pytest.mark.parametrize("rows", ['P1,"yes\nP2,no\n', 'P1,"yes\nP2,"no"\n', 'P1,"yes" no\n'])
def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path: Path, rows: str) -> None:
    (tmp_path / "reports.csv").write_text(f"PatientID,text\nP0,none\n{rows}")
    with pytest.raises(UserError, match=r"^reports\.csv, line 3: a quote that opens a cell must close it at its end"):
        labels.Labels(tmp_path / "reports.csv", config.Data("d", report="text"))
