"""`radkit index`, as its users run it."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from pyarrow import parquet

from beam_jobs import index, index_batch, index_series
from radkit import outputs
from radkit.dicom import scan
from tests import made_up

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def hospital(tmp_path):
    """Returns a folder of two patients' series, a radiograph, and files that are no DICOM."""
    folder = tmp_path / "hospital"
    made_up.ct_series(folder / "a", slices=3)
    made_up.ct_series(folder / "b" / "deep", slices=2, patient=2, modality="MR", Manufacturer="Invented, Ltd")
    made_up.radiograph(folder / "c.dcm", patient=2, series=2)
    (folder / "note.txt").write_text("Please ring extension 4711")
    (folder / "b" / "empty.dcm").write_text("")
    return folder


@pytest.fixture
def run(tmp_path, hospital, capfd):
    """Returns a call of the verb: its status, and what it said on stdout and stderr."""

    def call(*more, folder=hospital, output=tmp_path / "index"):
        status = index.main(["radkit index", f"--input={folder}", f"--output={output}", *more])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def rows(path):
    return parquet.read_table(path).to_pylist()


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_tables_hold_what_the_headers_hold(run, tmp_path, hospital):
    status, said, _ = run()
    assert status == 1
    assert said == (f"index: 8 files, 2 patients, 3 series (CR 1, CT 1, MR 1); 2 set aside -> {tmp_path / 'index'}\n")
    instances = rows(tmp_path / "index" / "instances.parquet")
    assert len(instances) == 6
    numbers = {*index_batch.WHOLE, *index_batch.REAL}
    for row in instances:
        path = hospital / row["path"]
        read = scan.read_instance(path)
        assert row["size_bytes"] == path.stat().st_size
        for keyword in (*scan.KEYWORDS, "TransferSyntaxUID"):
            if keyword in numbers:
                assert row[keyword] == (float(read[keyword]) if read[keyword] else None)
            else:
                assert row[keyword] == (read[keyword] or None)
    series = rows(tmp_path / "index" / "series.parquet")
    assert [(s["Modality"], s["PatientID"], s["num_instances"]) for s in series] == [
        ("CT", "P001", 3), ("MR", "P002", 2), ("CR", "P002", 1),
    ]  # fmt: skip
    assert series[1]["Manufacturer"] == "Invented, Ltd"
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == [
        "index.html", "instances.parquet", "provenance.json", "quarantine.csv", "series.parquet", "summary.json",
    ]  # fmt: skip


def test_a_number_that_is_none_is_empty_and_counted(run, tmp_path, hospital):
    def odd(dataset):
        dataset.SeriesNumber = "7"
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.NumberOfFrames = "1"
        dataset.EchoTime = [1.0, 2.0]  # two where one belongs

    made_up.change(hospital / "c.dcm", odd)
    run()
    (row,) = [r for r in rows(tmp_path / "index" / "instances.parquet") if r["path"] == "c.dcm"]
    assert (row["SeriesNumber"], row["NumberOfFrames"], row["EchoTime"]) == (7, 1, None)
    assert row["ImageType"] == "ORIGINAL\\PRIMARY"
    assert outputs.read_json(tmp_path / "index" / "summary.json")["unreadable_numbers"] == {"EchoTime": 1}


def test_a_series_row_tells_plane_spacing_and_what_is_missing(run, tmp_path, hospital):
    shutil.rmtree(hospital / "a")
    made_up.ct_series(
        hospital / "a", slices=7, faults={3: None}, SeriesDescription="Abdomen portalvenös",
        ConvolutionKernel="B30f", ContrastBolusAgent="Invented", SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    first = sorted((hospital / "a").iterdir())[0]
    shutil.copy(first, hospital / "a" / "twice")
    run()
    (row,) = [r for r in rows(tmp_path / "index" / "series.parquet") if r["Modality"] == "CT"]
    assert (row["plane"], row["plane_angle_degrees"], row["spacing_mm"]) == ("axial", 0.0, 2.5)
    assert (row["num_instances"], row["num_positions"], row["num_gaps"], row["num_duplicates"]) == (7, 6, 1, 1)
    assert (row["contrast_hint"], row["phase_hint"], row["kernel_hint"]) == ("yes", "portal", "soft")
    assert row["is_image"]
    assert not row["is_localizer"]
    middle = pydicom.dcmread(hospital / row["middle_path"]).ImagePositionPatient[2]
    assert sorted(pydicom.dcmread(p).ImagePositionPatient[2] for p in (hospital / "a").glob("*.dcm"))[2] == middle


def test_instances_without_a_series_are_series_of_their_own(run, tmp_path, hospital):
    for path in (hospital / "a").iterdir():
        made_up.change(path, lambda d: d.__delattr__("SeriesInstanceUID"))
    run()
    instances = [r for r in rows(tmp_path / "index" / "instances.parquet") if r["Modality"] == "CT"]
    alone = [r for r in rows(tmp_path / "index" / "series.parquet") if r["Modality"] == "CT"]
    assert sorted(r["SeriesInstanceUID"] for r in alone) == sorted(r["SOPInstanceUID"] for r in instances)


@pytest.mark.parametrize("share", [1, 2, 3])
def test_series_are_the_same_however_many_fit_at_a_time(run, tmp_path, hospital, monkeypatch, share):
    made_up.ct_series(hospital / "z", slices=4, patient=7)
    run()
    monkeypatch.setattr(index_series, "ROWS_AT_A_TIME", share)
    run(output=tmp_path / "again")
    assert rows(tmp_path / "index" / "series.parquet") == rows(tmp_path / "again" / "series.parquet")


def test_what_cannot_be_told_apart_from_a_classic_grouping_is_not(run, tmp_path, hospital):
    run()
    found, _ = scan.series(scan.find(hospital))
    told = rows(tmp_path / "index" / "series.parquet")
    assert [(s.uid, len(s.instances), s.is_image) for s in found] == [
        (row["SeriesInstanceUID"], row["num_instances"], row["is_image"]) for row in told
    ]


def test_what_is_no_dicom_is_listed_with_its_reason(run, tmp_path):
    run()
    assert table(tmp_path / "index" / "quarantine.csv") == [
        ["path", "reason"],
        ["b/empty.dcm", "the file is empty"],
        ["note.txt", "the file is not DICOM (no SOPClassUID and SOPInstanceUID)"],
    ]


def test_a_folder_of_dicom_only_is_done_and_complete(run, hospital):
    (hospital / "note.txt").unlink()
    (hospital / "b" / "empty.dcm").unlink()
    status, said, _ = run()
    assert status == 0
    assert "0 set aside" in said


def test_a_second_run_is_done_at_once_with_the_same_words_and_status(run, tmp_path, monkeypatch):
    first = run()
    before = {p: p.read_bytes() for p in (tmp_path / "index").iterdir()}
    monkeypatch.setattr(index_batch, "scan_batch", lambda *_: pytest.fail("read again"))
    second = run()
    assert second[:2] == first[:2]
    assert {p: p.read_bytes() for p in (tmp_path / "index").iterdir()} == before


def test_the_same_folder_gives_the_same_bytes(run, tmp_path):
    run()
    run(output=tmp_path / "again")
    for path in (tmp_path / "index").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_another_folder_is_refused_where_an_index_is(run, tmp_path, hospital):
    run()
    made_up.radiograph(hospital / "new.dcm", patient=3)
    status, _, said = run()
    assert status == 2
    assert "holds a run of 'index' that differs in inputs; remove it or name another folder" in said
    assert len(rows(tmp_path / "index" / "instances.parquet")) == 6


def test_an_index_of_nothing_readable_still_has_its_columns(run, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "note.txt").write_text("no DICOM")
    assert run(folder=folder)[0] == 1
    found = parquet.read_table(tmp_path / "index" / "instances.parquet")
    assert found.num_rows == 0
    assert found.column_names == list(index.INSTANCE_COLUMNS)
    assert parquet.read_table(tmp_path / "index" / "series.parquet").column_names == list(index.SERIES_COLUMNS)
    assert "There are none." in (tmp_path / "index" / "index.html").read_text()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "does not exist; name a folder"),
        (lambda p: p.mkdir(), "is empty"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: (p / "inner").mkdir(parents=True), "holds no files"),
        (lambda p: (p.mkdir(), (p / ".hidden").write_text("")), "holds no files"),
    ],
)
def test_a_folder_with_nothing_in_it_is_refused(run, tmp_path, make, said):
    make(tmp_path / "in")
    status, out, err = run(folder=tmp_path / "in")
    assert status == 2
    assert said in err
    assert err.count("\n") == 1
    assert not out
    assert not (tmp_path / "index").exists()


def test_without_output_nothing_is_done(hospital, capfd):
    assert index.main(["radkit index", f"--input={hospital}"]) == 2
    assert capfd.readouterr().err == "radkit: --output must be given (see --help)\n"


@pytest.mark.parametrize("flag", ["--no_such_flag=1", "stray", "--direct_num_workers=many", "--pictures=-1"])
def test_a_wrong_flag_is_refused(run, tmp_path, flag):
    status, _, said = run(flag)
    assert status == 2
    assert said.startswith("radkit: ")
    assert not (tmp_path / "index").exists()


def test_output_inside_input_is_refused(run, hospital):
    for output in (hospital, hospital / "index"):
        status, _, said = run(output=output)
        assert status == 2
        assert "--output lies in --input" in said
    assert not (hospital / "index").exists()


def test_names_that_are_not_utf8_are_set_aside(run, tmp_path, hospital):
    odd = os.fsencode(hospital) + b"/M\xfcller.dcm"
    with open(odd, "wb") as file:
        file.write((hospital / "c.dcm").read_bytes())
    made_up.radiograph(hospital / "Größe.dcm", patient=4)
    status, said, _ = run()
    assert status == 1
    assert "3 set aside" in said
    listed = table(tmp_path / "index" / "quarantine.csv")
    assert ["M\\xfcller.dcm", "the file's name is not UTF-8; rename it (convmv does)"] in listed
    assert "Größe.dcm" in [r["path"] for r in rows(tmp_path / "index" / "instances.parquet")]


def test_an_interrupted_run_leaves_nothing(run, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(index.outputs, "write_csv", interrupt)
    status, _, said = run()
    assert status == 2
    assert "interrupted" in said
    assert [p.name for p in tmp_path.iterdir()] == ["hospital"]


def test_radkits_own_tables_are_not_indexed(run, hospital):
    outputs.write_json(hospital / outputs.PROVENANCE, {"verb": "anonymize"})
    status, said, _ = run()
    assert status == 1
    assert "index: 6 files" in said  # what lies at the top is radkit's


# --- many batches, killed runs, workers -----------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(index_batch, "FILES_PER_BATCH", 2)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_batches_and_workers_do_not_change_the_tables(run, tmp_path, monkeypatch):
    run("--direct_num_workers=1")
    monkeypatch.setattr(index_batch, "FILES_PER_BATCH", 2)
    for number, workers in enumerate((1, 2)):
        run(f"--direct_num_workers={workers}", output=tmp_path / str(number))
        assert contents(tmp_path / str(number)) == contents(tmp_path / "index")


@pytest.fixture
def left(tmp_path, monkeypatch, small_batches):
    """Returns the folder that a run leaves which was killed after its last batch."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = tmp_path / f"again.incomplete.{process.pid}"
    join = index._join

    def copied(root, *arguments):
        shutil.copytree(root, folder)
        monkeypatch.setattr(index, "_join", join)
        return join(root, *arguments)

    monkeypatch.setattr(index, "_join", copied)
    return folder


def test_what_a_killed_run_left_is_gone_on_with(run, tmp_path, left, monkeypatch):
    run()
    (left / "parts" / "000001.parquet").unlink()
    (left / "parts" / "000002.parquet.incomplete.99").write_bytes(b"half")
    done, scan_batch = tmp_path / "done", index_batch.scan_batch
    done.mkdir()

    def noted(batch, *arguments):
        (done / str(batch[0])).touch()
        scan_batch(batch, *arguments)

    monkeypatch.setattr(index_batch, "scan_batch", noted)
    status, _, said = run("--direct_num_workers=1", output=tmp_path / "again")
    assert status == 1
    assert "index: goes on after 3 batches" in said
    assert [p.name for p in done.iterdir()] == ["1"]
    assert contents(tmp_path / "again") == contents(tmp_path / "index")
    assert not left.exists()


def test_a_killed_run_of_other_files_is_not_gone_on_with(run, tmp_path, hospital, left):
    run()
    made_up.radiograph(hospital / "new.dcm", patient=3)
    _, _, said = run(output=tmp_path / "again")
    assert "goes on" not in said
    assert len(rows(tmp_path / "again" / "instances.parquet")) == 7


def test_links_to_files_are_read_and_links_to_folders_are_told(run, tmp_path, hospital):
    (hospital / "link.dcm").symlink_to(hospital / "c.dcm")
    (hospital / "round").symlink_to(hospital, target_is_directory=True)
    (hospital / "nowhere").symlink_to(tmp_path / "nothing")
    status, said, err = run()
    assert status == 1
    assert "index: 9 files" in said
    assert "1 links to folders were not followed" in err
    (row,) = [r for r in rows(tmp_path / "index" / "series.parquet") if r["Modality"] == "CR"]
    assert (row["num_instances"], row["num_duplicates"]) == (2, 1)


def test_a_dicomdir_is_set_aside(run, tmp_path, hospital):
    made_up.radiograph(hospital / "DICOMDIR")
    dataset = pydicom.dcmread(hospital / "DICOMDIR")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = scan.DICOMDIR_STORAGE
    dataset.save_as(hospital / "DICOMDIR")
    run()
    assert ["DICOMDIR", "a DICOMDIR is an index of other files, not an image"] in table(
        tmp_path / "index" / "quarantine.csv"
    )


def test_the_page_shows_pictures_and_warns_and_names_no_patient(run, tmp_path, hospital):
    run()
    page = (tmp_path / "index" / "index.html").read_text()
    assert "This page must stay where the images are" in page
    assert "6 of 6 instances are not marked as de-identified" in page
    assert page.count("data:image/png;base64,") == 3
    assert "Invented^P" not in page
    assert "P001" not in page
    assert made_up.ROOT_UID not in page


def test_a_deidentified_folder_is_shown_without_a_warning(run, tmp_path, hospital):
    for path in hospital.rglob("*.dcm"):
        if path.stat().st_size:
            made_up.change(path, lambda d: setattr(d, "PatientIdentityRemoved", "YES"))
    run("--pictures=1")
    page = (tmp_path / "index" / "index.html").read_text()
    assert "must stay" not in page
    assert page.count("data:image/png;base64,") == 1
    assert "1 of 3 series" in page


def test_pixels_that_cannot_be_shown_leave_a_tile_with_the_reason(run, tmp_path, hospital):
    made_up.change(hospital / "c.dcm", lambda d: d.__delattr__("PixelData"))
    run()
    page = (tmp_path / "index" / "index.html").read_text()
    assert "the instance has no PixelData" in page
    assert page.count("data:image/png;base64,") == 2


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.index", *arguments],
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_a_part_is_there(tmp_path, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(tmp_path.glob("*.incomplete.*/parts/*.parquet")):
            return
        time.sleep(0.005)
    raise AssertionError(f"no batch was done: {process.poll()}")


@pytest.fixture
def large(tmp_path):
    folder = tmp_path / "hospital"
    made_up.radiograph(folder / "a.dcm")
    content = (folder / "a.dcm").read_bytes()
    for number in range(12_000):
        (folder / f"{number:05d}.dcm").write_bytes(content)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_started_again_it_goes_on_to_the_same_end(tmp_path, large, workers):
    flags = [f"--input={large}", f"--output={tmp_path / 'index'}", f"--direct_num_workers={workers}"]
    process = started(*flags)
    until_a_part_is_there(tmp_path, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "index").exists()
    again = started(*flags)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "goes on after" in err
    whole = started(f"--input={large}", f"--output={tmp_path / 'whole'}", "--direct_num_workers=1")
    whole.communicate(timeout=300)
    assert contents(tmp_path / "index") == contents(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hospital", "index", "whole"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_with_the_keyboard_it_leaves_nothing(tmp_path, large, workers):
    process = started(f"--input={large}", f"--output={tmp_path / 'index'}", f"--direct_num_workers={workers}")
    until_a_part_is_there(tmp_path, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.strip().splitlines()[-1].startswith("radkit: interrupted")
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["hospital"]
