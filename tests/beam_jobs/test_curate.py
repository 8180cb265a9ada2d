"""Curation: what is kept and why, what series are compared by, and the page; one bad series takes no other."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from beam_jobs import curate as job
from beam_jobs import curate_close, curate_page, curate_picture, curate_population, curate_series, curate_values
from radkit import config, outputs
from radkit.dicom import write
from radkit.dicom.findings import KINDS, Finding
from radkit.dicom.volumes import Volume
from tests import made_up
from tests.beam_jobs import curated
from tests.beam_jobs.curated import SIZES, names, row, series, settings, table, uid, volume
from tests.reports import page_check


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Returns a call of the job on `tmp_path / dicom`: its status and the output."""
    monkeypatch.setattr(curate_series.checks, "of_volume", curated.of_volume)
    return functools.partial(curated.run, tmp_path)


# --- decisions ------------------------------------------------------------------------------------------------------


def test_where_nothing_is_found_all_is_kept_and_the_status_is_0(call, tmp_path, capsys) -> None:
    for patient in (1, 2, 3):
        series(tmp_path / "dicom", patient)
    status, folder = call()
    assert status == 0
    rows = table(folder / curate_close.CURATION)
    assert [(row["series"], row["SeriesInstanceUID"], row["PatientID"]) for row in rows] == [
        (str(n), uid(n), f"P{n:03d}") for n in (1, 2, 3)
    ]
    assert {(row["decision"], row["decided_by"], row["reasons"]) for row in rows} == {("keep", "rules", "")}
    assert {row["num_instances"] for row in rows} == {"10"}
    assert {row["severity"] for row in table(folder / curate_close.FINDINGS)} <= {"note"}
    assert "curate: 3 series of 3 patients: 3 kept, 0 left out" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {
        "curation.csv", "findings.csv", "quality.html", "quarantine.csv", "summary.json", "provenance.json",
    }  # fmt: skip


def test_what_only_a_rule_leaves_out_is_counted_and_is_no_finding(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1)
    series(tmp_path / "dicom", 2, modality="MR")
    series(tmp_path / "dicom", 3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    status, folder = call(modalities=("CT",))
    assert status == 0
    told = {row["SeriesInstanceUID"]: (row["decision"], row["reasons"]) for row in table(folder / "curation.csv")}
    assert told[uid(1)] == ("keep", "")
    assert told[uid(2)] == ("leave_out", "modality_not_asked")
    assert told[uid(3)] == ("leave_out", "localizer")
    summary = outputs.read_json(folder / "summary.json")
    assert summary["left_out_by_reason"] == {"localizer": 1, "modality_not_asked": 1}
    assert summary["kept"] == 1


def test_pixels_of_what_is_not_asked_for_are_not_read(call, tmp_path, monkeypatch) -> None:
    series(tmp_path / "dicom", 1)
    series(tmp_path / "dicom", 2, modality="MR")
    looked = tmp_path / "looked"
    looked.mkdir()
    monkeypatch.setattr(
        curate_series.checks, "of_volume", lambda volume: [(looked / volume.meta["Modality"]).touch()][:0]
    )
    call(modalities=("MR",))
    assert [path.name for path in looked.iterdir()] == ["MR"]


def test_one_bad_series_is_a_fault_and_takes_no_other_with_it(call, tmp_path) -> None:
    for patient in (1, 2, 3):
        series(tmp_path / "dicom", patient)
    (tmp_path / "dicom" / "2-1" / "0004.dcm").unlink()
    (tmp_path / "dicom" / "note.txt").write_text("hello")
    status, folder = call()
    assert status == 1
    told = {row["SeriesInstanceUID"]: row for row in table(folder / "curation.csv")}
    assert [told[uid(n)]["decision"] for n in (1, 2, 3)] == ["keep", "leave_out", "keep"]
    assert "slices are missing" in told[uid(2)]["note"]
    assert [row["path"] for row in table(folder / "quarantine.csv")] == ["note.txt"]
    assert outputs.read_json(folder / "summary.json")["with_faults"] == 1


def test_a_series_that_is_refused_is_still_shown(call, tmp_path) -> None:
    (series(tmp_path / "dicom", 2) / "0004.dcm").unlink()
    images = page_check.read((call()[1] / "quality.html").read_text()).images
    assert any("slices are missing" in str(image["alt"]) for image in images)


def broken(volume: Volume) -> list[Finding]:
    if volume.meta["PatientID"] == "P002":
        raise RuntimeError("a defect")
    return []


def test_a_defect_of_a_check_costs_one_series(call, tmp_path, monkeypatch) -> None:
    for patient in (1, 2, 3):
        series(tmp_path / "dicom", patient)
    monkeypatch.setattr(curate_series.checks, "of_volume", broken)
    status, folder = call()
    assert status == 1
    (text,) = names(folder, "unreadable_series")[uid(2)]
    assert text == "not foreseen (RuntimeError): a defect of radkit or of a library"
    assert outputs.read_json(folder / "summary.json")["kept"] == 2


@pytest.mark.parametrize(("taken", "refused"), [("one", True), ("largest", True), ("all", False)])
def test_a_series_of_two_volumes_is_a_fault_where_the_config_takes_one(call, tmp_path, taken, refused) -> None:
    folder = series(tmp_path / "dicom", 1, modality="MR", EchoTime=10)
    series(tmp_path / "more", 1, modality="MR", EchoTime=20)
    for number, path in enumerate(sorted((tmp_path / "more" / "1-1").iterdir())):
        made_up.change(path, lambda dataset, n=number: setattr(dataset, "SOPInstanceUID", f"1.2.9.{n}"))
        path.rename(folder / f"more-{path.name}")
    status, output = call(volumes=taken)
    assert set(names(output, "too_many_volumes")) == ({uid(1)} if refused else set())
    assert status == refused


def test_findings_of_many_volumes_are_told_in_few_lines() -> None:
    found = [Finding("noisy", f"volume {n}") for n in range(200)]
    told = [finding.text for finding in curate_series._some_of_each(found)]
    assert told == ["volume 0", "volume 1", "volume 2", "and 197 more like it in this series"]


@pytest.mark.parametrize("accepted", [(), ("constant_image",)])
def test_what_the_checks_find_decides_unless_it_is_accepted(tmp_path, accepted) -> None:
    series(tmp_path / "dicom", 1)
    said = made_up.header("CT", 2, 1, RescaleIntercept=-1024, RescaleSlope=1)
    write.write_series(np.full(SIZES, 7, np.int16), np.diag([1.5, 1.5, 2.0, 1.0]), said, tmp_path / "dicom" / "2")
    rules = config.Curate(accepted=(*accepted, *(name for name in KINDS if name != "constant_image")))
    flags = [f"--config={settings(tmp_path, curate=rules)}", f"--input={tmp_path / 'dicom'}"]
    assert job.main(["curate", *flags, f"--output={tmp_path / 'quality'}"]) == 1
    told = {row["SeriesInstanceUID"]: row for row in table(tmp_path / "quality" / "curation.csv")}
    assert uid(2) in names(tmp_path / "quality", "constant_image")
    assert told[uid(2)]["decision"] == ("keep" if accepted else "leave_out")
    assert told[uid(1)]["decision"] == "keep"


# --- the folder as a whole ------------------------------------------------------------------------------------------


def test_the_same_images_under_two_patients_are_a_fault_within_one_a_warning(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1, seed=1)
    series(tmp_path / "dicom", 2, seed=1)
    series(tmp_path / "dicom", 3, 1, seed=3)
    series(tmp_path / "dicom", 3, 2, seed=3)
    series(tmp_path / "dicom", 4)
    status, folder = call()
    assert status == 1
    assert names(folder, "duplicate_images") == {
        uid(1): ["the pixels are those of series 2"], uid(2): ["the pixels are those of series 1"],
    }  # fmt: skip
    assert set(names(folder, "repeated_images")) == {uid(3, 1), uid(3, 2)}
    told = {row["SeriesInstanceUID"]: row["decision"] for row in table(folder / "curation.csv")}
    assert [told[u] for u in (uid(1), uid(2), uid(3, 1), uid(4))] == ["leave_out", "leave_out", "keep", "keep"]


def test_a_series_unlike_all_others_stands_out_with_what_is_usual() -> None:
    rows = [row(n, spacing_mm=[5.0, 0.7 + 0.002 * (n % 20), 0.7]) for n in range(1, 60)]
    rows.append(row(60, spacing_mm=[5.0, 7.0, 7.0]))
    (found,) = curate_population.outliers(rows)
    assert found.number == 60
    assert found.text.startswith("pixel spacing 7 mm; half of the CT series: 0.7")


def test_a_second_protocol_and_a_handful_of_series_do_not_stand_out() -> None:
    rows = [row(n, thickness_mm=1.0 if n % 5 == 0 else 5.0) for n in range(1, 100)]
    assert curate_population.outliers(rows) == []
    few = [row(n) for n in range(1, curate_population.LEAST - 1)]
    assert curate_population.outliers([*few, row(99, thickness_mm=50.0)]) == []


@given(st.lists(st.floats(0.01, 1e4), min_size=20, max_size=60))
def test_at_most_a_twentieth_of_a_modality_stands_out_in_one_feature(values: list[float]) -> None:
    rows = [row(n, thickness_mm=value) for n, value in enumerate(values, start=1)]
    assert len(curate_population.outliers(rows)) <= len(values) / 20


def test_thousands_of_copies_take_no_square_of_their_number() -> None:
    rows = [row(n, digests=["same"], patient_id=f"P{n // 2}") for n in range(1, 20_001)]
    found = curate_population.duplicates(rows)  # of all pairs there are 200 million: they would not end here
    assert len(found) == 20_000
    assert {f.name for f in found[500]} == {"duplicate_images", "repeated_images"}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=14))
def test_duplicates_are_those_that_all_pairs_tell(held: list[tuple[int, int]]) -> None:
    rows = [row(n, patient_id=f"P{patient}", digests=[str(d)]) for n, (patient, d) in enumerate(held)]
    for one in rows:
        others = [o for o in rows if o is not one and o["digests"] == one["digests"]]
        expected = {"repeated_images" if o["patient_id"] == one["patient_id"] else "duplicate_images" for o in others}
        assert {f.name for f in curate_population.duplicates(rows).get(one["number"], [])} == expected


STORED = arrays.arrays(np.int16, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(-9, 9))


@given(STORED, st.integers(-50, 50))
def test_volumes_of_the_same_values_are_the_same_unless_they_are_blank(stored: np.ndarray, shift: int) -> None:
    told = curate_values.digest(volume(stored))
    assert bool(told) == (len(np.unique(stored)) > 1)
    assert told == curate_values.digest(volume((stored + shift).astype(np.int32), intercept=-shift))
    changed = stored.copy()
    changed[0, 0, 0] += 100
    assert curate_values.digest(volume(changed)) != told or stored.size == 1  # one voxel is blank whatever it holds


@given(st.integers(1, 40), st.sampled_from([(1, 64, 64), (3, 50, 71), (40, 30, 30)]))
def test_a_sample_of_values_is_of_the_volume_and_spread_over_it(most: int, shape: tuple[int, int, int]) -> None:
    stored = np.random.default_rng(most).integers(-99, 99, shape).astype(np.int16)
    whole = volume(stored, 2.0, -5.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curate_values, "_MOST_SAMPLED", most * 100)
        values = curate_values.sampled(whole)
    assert len(values) <= most * 100
    assert set(values) <= set(whole.array.reshape(-1))
    assert len(values) >= min(whole.stored.size, most * 100) / 3


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_histograms_hold_every_value(values: np.ndarray) -> None:
    for modality in ("CT", "MR"):
        made = curate_values.histogram(values, modality)
        assert len(made) == curate_values.BINS
        assert sum(made) == pytest.approx(1, abs=1e-3)


def test_a_mask_unlike_those_of_the_other_cases_is_told() -> None:
    figures = [{"organ": {"volume": 9 + 0.1 * (n % 7), "row_place": 0.5 + 0.01 * (n % 5)}} for n in range(30)]
    figures[11] = {"organ": {"volume": 9.3, "row_place": 0.9}}
    found = curate_population.masks([row(n, mask_features=told) for n, told in enumerate(figures)])
    assert {number: [f.name for f in told] for number, told in found.items()} == {11: ["unlike_others"]}
    assert curate_population.masks([row(1), row(2)]) == {}


# --- overrides ------------------------------------------------------------------------------------------------------


def overrides(folder: Path, *rows: str, header: str = "SeriesInstanceUID,decision,by,date,reason") -> str:
    path = folder / "decisions.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return f"--overrides={path}"


def test_what_a_person_decided_stands_over_the_rules_and_is_recorded(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1)
    series(tmp_path / "dicom", 2, modality="MR")
    series(tmp_path / "dicom", 3)
    told = overrides(
        tmp_path, f"{uid(1)},leave_out,A. Reader,2026-03-14,wrong knee", f"{uid(2)},keep,B. Reader,2026-03-15,needed"
    )
    status, folder = call(told, modalities=("CT",))
    assert status == 0
    rows = {row["SeriesInstanceUID"]: row for row in table(folder / "curation.csv")}
    first, second = rows[uid(1)], rows[uid(2)]
    assert (first["decision"], first["decided_by"], first["note"]) == (
        "leave_out",
        "A. Reader",
        "2026-03-14: wrong knee",
    )
    assert first["reasons"] == "left_out_by_person"
    assert (second["decision"], second["decided_by"], second["reasons"]) == ("keep", "B. Reader", "modality_not_asked")
    assert rows[uid(3)]["decided_by"] == "rules"
    summary = outputs.read_json(folder / "summary.json")
    assert (summary["overridden"], summary["overrides_against_rules"], summary["kept"]) == (2, 2, 2)
    page = (folder / "quality.html").read_text()
    assert "Decided by persons" in page
    assert "1, MR" in page or "Series 2, MR" in page  # what a person keeps is looked at, too


def test_an_override_of_a_series_that_is_not_there_is_told(call, tmp_path, capsys) -> None:
    series(tmp_path / "dicom", 1)
    status, folder = call(overrides(tmp_path, "1.2.3,keep,A. Reader,2026-03-14,needed"))
    assert status == 1
    assert "1 overrides are about series that are not here" in capsys.readouterr().err
    assert set(names(folder, "override_without_series")) == {""}
    assert "override of a series that is not there" in (folder / "quality.html").read_text()


@pytest.mark.parametrize(
    "rows", [["1.2,kept,A,2026-03-14,why"], ["1.2,keep,,2026-03-14,why"], ["1.2,keep,A,14.3.,why"]]
)
def test_overrides_that_do_not_say_all_are_refused(call, tmp_path, rows, capsys) -> None:
    series(tmp_path / "dicom", 1)
    status, folder = call(overrides(tmp_path, *rows))
    assert status == 2
    assert "line 2" in capsys.readouterr().err
    assert not folder.exists()


# --- the page -------------------------------------------------------------------------------------------------------


def parts(root: Path, count: int) -> curate_series.Plan:
    """Writes parts of made-up series, with pictures of noise: the largest there are."""
    random = np.random.default_rng(0)
    pictures = [
        curate_picture.encoded(volume(random.integers(0, 999, (1, 128, 128)).astype(np.int16)))[0] for _ in range(4)
    ]
    (root / "work" / "parts").mkdir(parents=True)
    found = [[name, f"text of {name}"] for name, kind in KINDS.items() if kind.severity != "rule"]
    for batch in range(count // 20):
        rows = [
            row(n, picture=pictures[n % 4], findings=[found[k] for k in (n % 97, n * 7 % 31) if k < len(found)])
            for n in range(20 * batch + 1, 20 * batch + 21)
        ]
        curate_series.part(root, batch).write_text(json.dumps(rows))
    return curate_series.Plan([20] * (count // 20), [0] * (count // 20), [["a", "the file is empty"]], {}, [])


@pytest.mark.parametrize("pictures", [0, 10, 144])
def test_a_page_of_thousands_of_series_is_bounded(tmp_path, pictures) -> None:
    plan = parts(tmp_path, 3000)
    curate_close.write(curate_series.Job(str(tmp_path), "", config.Data("made")), plan, {}, pictures)
    page = (tmp_path / "quality.html").read_text()
    read = page_check.read(page)
    assert len(read.images) <= pictures
    assert len(read.images) == pictures or not pictures
    assert len(page) < 8e6
    assert "holds all" in page


def test_the_page_names_no_patient_and_no_series(call, tmp_path) -> None:
    for patient in (1, 2):
        series(tmp_path / "dicom", patient, seed=1, SeriesDescription="Bein von Herrn X")
    page = (call()[1] / "quality.html").read_text()
    for word in ("P001", "P002", "Invented", made_up.ROOT_UID, "Herrn"):
        assert word not in page


def test_every_kind_that_is_told_on_the_page_leads_to_examples(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1, seed=1)
    series(tmp_path / "dicom", 2, seed=1)
    (series(tmp_path / "dicom", 3) / "0004.dcm").unlink()
    (tmp_path / "dicom" / "note.txt").write_text("hello")
    page = (call()[1] / "quality.html").read_text()
    read = page_check.read(page)
    assert {"#duplicate_images", "#missing_slices", "#files-set-aside"} <= set(read.links)
    assert KINDS["duplicate_images"].advice in page


@given(st.floats(1e-4, 1e5), st.floats(1.05, 1e4))
def test_ticks_are_few_and_within_the_axis(low: float, factor: float) -> None:
    found = curate_page._round_numbers(low, low * factor)
    assert 1 <= len(found) <= 8
    assert all(low * 0.9 <= value <= low * factor * 1.1 for value in found)
