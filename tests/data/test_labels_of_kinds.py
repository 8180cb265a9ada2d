"""Labels tables of every kind: what is read and refused, several readers, reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radkit import config
from radkit.data import labels
from radkit.data.labels import Label
from radkit.dicom import scan
from radkit.errors import UserError

ORDINAL = {"label": "grade", "label_kind": "ordinal", "class_names": ("none", "mild", "severe")}
FINDINGS = {"label": "findings", "label_kind": "multi_label", "class_names": ("Mass", "Effusion")}
NUMBER = {"label": "volume", "label_kind": "regression", "label_unit": "ml"}
SURVIVAL = {"label": "days", "label_kind": "survival", "event": "died"}
REPORT = {"label": "", "report": "text"}

Read = Callable[..., labels.Labels]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Returns what reads a table's text by a config's data section."""

    def table(text: str, asked: dict[str, Any], rename: Any = None, **wishes: Any) -> labels.Labels:
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
        data = config.Data("d", **{**asked, "annotations": config.Annotations(**wishes)})
        return labels.Labels(path, data, rename)

    return table


def of(table: labels.Labels, patient: str = "P0") -> Label | None:
    return table.of(scan.Instance(Path("image"), {"PatientID": patient}))


def names(table: labels.Labels) -> dict[str, int]:
    return {finding.name: finding.count for finding in table.findings}


@pytest.mark.parametrize(
    ("asked", "text", "value"),
    [
        (ORDINAL, "PatientID,grade\nP0,severe\n", 2),
        (ORDINAL, "PatientID,grade\nP0,1\n", 1),
        (FINDINGS, "PatientID,findings\nP0,Effusion|Mass\n", (1, 1)),
        (FINDINGS, "PatientID;findings\nP0;No Finding\n", (0, 0)),
        (FINDINGS, "Effusion,Mass,PatientID\n-1,1,P0\n", (1, -1)),
        (FINDINGS, "PatientID\tMass\tEffusion\nP0\t1.0\t\n", (1, -1)),
        (FINDINGS, "PatientID,Mass,Effusion,date\nP0,,0\n", (-1, 0)),
        (NUMBER, "PatientID;volume\nP0;12.5\n", 12.5),
        (SURVIVAL, "died,PatientID,days\n1,P0,365\n", (365.0, 1)),
        (REPORT, "PatientID,text\nP0,nothing\n", -1),
    ],
)
def test_each_kind_is_read(read: Read, asked: dict[str, Any], text: str, value: Any) -> None:
    table = read(text, asked)
    found = of(table)
    assert found is not None
    assert found.value == value
    assert type(found.value) is type(value)
    assert of(table, "P1") is None
    assert not table.findings


@pytest.mark.parametrize(
    ("asked", "text", "message"),
    [
        (
            ORDINAL,
            "PatientID,grade\nP0,moderate\n",
            "line 2: class 'moderate' is none of none, mild, severe.*leave_out",
        ),
        (FINDINGS, "PatientID,Mass\nP0,1\n", r"'findings' \(names joined by '\|'\) or a column for each of Mass, Eff"),
        (FINDINGS, "PatientID,findings\nP0,Mass|Efusion\n", "line 2: class 'Efusion'.*did you mean 'Effusion'"),
        (FINDINGS, "PatientID,Mass,Effusion\nP0,1,7\n", "line 2: column 'Effusion' is none of 1 .yes., 0 .no., -1"),
        (FINDINGS, "PatientID,Mass,Mass,Effusion\nP0,1,0,0\n", "the column Mass more than once"),
        (NUMBER, "PatientID,volume\nP0,a lot\n", "line 2: the label is no number; digits and a decimal point"),
        (SURVIVAL, "PatientID,days\nP0,365\n", "'days' and 'died' were expected"),
        (SURVIVAL, "PatientID,days,died\nP0,-1,0\n", "line 2: the time is below 0; correct it"),
        (SURVIVAL, "PatientID,days,died\nP0,36,\n", "line 2: the event is neither 1"),
        (NUMBER, "PatientID,volume\n,3\n", "line 2: PatientID is empty; each label needs one"),
        ({**NUMBER, "report": "text"}, "PatientID,volume\nP0,3\n", "'volume' and 'text' were expected"),
        (REPORT, "PatientID,volume\nP0,3\n", "'text' were expected"),
        (REPORT, "PatientID,text\n,nothing\n", "each report needs one"),
    ],
)
def test_what_cannot_be_read_says_why(read: Read, asked: dict[str, Any], text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(text, asked)


@pytest.mark.parametrize(
    ("asked", "text", "left"),
    [
        (ORDINAL, "PatientID,grade\nP0,moderate\nP1,mild\n", None),
        (NUMBER, "PatientID,volume\nP0,n/a\nP1,2\n", None),
        (SURVIVAL, "PatientID,days,died\nP0,31,\nP1,2,0\n", None),
        (FINDINGS, "PatientID,Mass,Effusion\nP0,1,7\nP1,1,0\n", None),
        (FINDINGS, "PatientID,findings\nP0,Effusion|Hernia\nP1,Mass\n", (0, 1)),
    ],
)
def test_what_cannot_be_read_may_be_left_out_and_is_counted(
    read: Read, asked: dict[str, Any], text: str, left: Any
) -> None:
    table = read(text, asked, unknown_class="leave_out")
    found = of(table)
    assert (found and found.value) == left
    assert of(table, "P1") is not None
    assert names(table) == {"unknown_class": 1}


def test_rows_without_a_label_say_nothing(read: Read) -> None:
    assert of(read("PatientID,Mass,Effusion\nP0,,\nP1,0,0\n", FINDINGS)) is None
    assert of(read("PatientID,days,died\nP0,,\nP1,0,0\n", SURVIVAL)) is None
    assert of(read("PatientID,text\nP0, \nP1,b\n", REPORT)) is None


class TestSeveralReaders:
    def test_degrees_come_to_the_middle_one(self, read: Read) -> None:
        text = "PatientID,grade,reader\nP0,0,a\nP0,2,b\nP0,1,c\nP1,0,a\nP1,2,b\n"
        table = read(text, ORDINAL, several="majority")
        assert of(table) == Label(1, "a, b, c")
        assert of(table, "P1") is None
        row = table.disagreement("1.2", [scan.Instance(Path("x"), {"PatientID": "P1"})])
        assert row is not None
        assert row["reason"] == "classes differ (a: none; b: severe)"
        assert of(read(text, ORDINAL, several="first", readers=("b", "a"))) == Label(2, "b")

    def test_each_of_several_labels_is_voted_on_and_a_tie_is_unknown(self, read: Read) -> None:
        rows = ["P0,1,1,a", "P0,1,0,b", "P1,1,0,a", "P1,1,,b", "P2,-1,,a", "P2,,1,b"]
        table = read("PatientID,Mass,Effusion,reader\n" + "\n".join(rows), FINDINGS, several="majority")
        assert of(table) == Label((1, -1), "a, b")
        assert of(table, "P1") == Label((1, 0), "a, b")
        assert of(table, "P2") == Label((-1, 1), "a, b")
        assert names(table) == {"contradicting_rows": 1, "several_readers": 3}
        row = table.disagreement("1.2", [scan.Instance(Path("x"), {"PatientID": "P0"})])
        assert row is not None
        assert row["reason"] == "classes differ (a: Effusion yes; b: Effusion no)"
        assert table.disagreement("1.2", [scan.Instance(Path("x"), {"PatientID": "P1"})]) is None

    def test_numbers_come_to_the_median(self, read: Read) -> None:
        text = "PatientID,volume,reader,reference_standard\nP0,10,a,reader\nP0,20,b,reader\nP0,90,c,reader\n"
        assert of(read(text, NUMBER, several="majority")) == Label(20.0, "a, b, c", "", "consensus")

    def test_survival_is_not_voted_on(self, read: Read) -> None:
        same = "PatientID,days,died,reader\nP0,10,1,a\nP0,10.0,yes,b\n"
        assert of(read(same, SURVIVAL, several="majority")) == Label((10.0, 1), "a, b")
        other = f"{same}P0,11,1,c\n"
        with pytest.raises(UserError, match="line 4: the readers of this PatientID say different times or events"):
            read(other, SURVIVAL, several="majority")
        assert of(read(other, SURVIVAL, several="first", readers=("c", "b", "a"))) == Label((11.0, 1), "c")

    @pytest.mark.parametrize("asked", [ORDINAL, FINDINGS, NUMBER, SURVIVAL, REPORT])
    def test_they_are_refused_unless_a_setting_says_how(self, read: Read, asked: dict[str, Any]) -> None:
        columns = ("PatientID", "reader", "grade", "Mass", "Effusion", "volume", "days", "died", "text")
        text = ",".join(columns) + "\n" + "".join(f"P0,{reader},1,1,0,4,5,1,same\n" for reader in "ab")
        with pytest.raises(UserError, match="1 PatientID values have rows of several readers"):
            read(text, asked)
        assert of(read(text, asked, several="majority")) is not None

    @pytest.mark.parametrize(
        ("asked", "cells"), [(NUMBER, ("3", "4")), (FINDINGS, ("Mass", "Effusion")), (REPORT, ("one", "two"))]
    )
    def test_a_reader_who_says_otherwise_is_refused(
        self, read: Read, asked: dict[str, Any], cells: tuple[str, str]
    ) -> None:
        column = asked["label"] or asked["report"]
        text = f"PatientID,{column},reader\n" + "".join(f"P0,{cell},a\n" for cell in cells)
        what = "label" if asked["label"] else "report"
        with pytest.raises(UserError, match=f"line 3: the same PatientID had another {what} before, by reader a"):
            read(text, asked)
        table = read(text, asked, duplicates="first")
        assert of(table) is not None
        assert names(table) == {"contradicting_rows": 1}


class TestReports:
    def test_a_report_stands_beside_any_label(self, read: Read) -> None:
        text = 'PatientID,text,volume\nP0,"Size, ""unchanged"".\nNo mass.",3\nP1,,4\nP2,alone,\n'
        table = read(text, {**NUMBER, "report": "text"})
        assert of(table) == Label(3.0, report='Size, "unchanged".\nNo mass.')
        assert of(table, "P1") == Label(4.0)
        assert of(table, "P2") is None

    def test_no_text_is_made_of_two(self, read: Read) -> None:
        text = "PatientID,text,volume,reader\nP0,,3,a\nP0,of b,5,b\nP0,of c,4,c\n"
        asked = {**NUMBER, "report": "text"}
        table = read(text, asked, several="majority")
        assert of(table) == Label(4.0, "a, b, c", report="of b")
        assert [f.text for f in table.findings if "reports" in f.text] == [
            "labels.csv: 1 PatientID values have several reports: the first counts"
        ]
        assert of(read(text, asked, several="first")) == Label(3.0, "a")

    def test_instances_of_one_image_must_have_one_report(self, read: Read) -> None:
        table = read("PatientID,text\nP0,one\nP1,two\nP2,one\n", REPORT)
        series = [scan.Instance(Path("x"), {"PatientID": f"P{n}"}) for n in range(3)]
        assert table.of_any(series) is None
        assert table.contradicts(series)
        assert table.of_any(series[::2]) == Label(-1, report="one")

    def test_reports_do_not_come_along_with_original_identifiers(self, read: Read) -> None:
        with pytest.raises(UserError, match=r"'text' \(data\.report\) may name patients; map the table") as caught:
            read("PatientID,text\nMueller,Mrs Mueller has a mass\n", REPORT, rename=lambda column, value: value)
        assert "Mueller" not in str(caught.value)
