"""The verb as its users run it: exit statuses, what is written, and what is never told."""

import csv
import datetime
import gc
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from beam_jobs import anonymize, index
from radkit.deid import conformance, escrow, files, keys, profile, reidentify, settings
from radkit.dicom import scan
from tests.deid.test_engine import header, plant, written


@pytest.fixture
def hospital(tmp_path):
    """Returns a folder with two patients' images, and names and values that must not get out."""
    folder = tmp_path / "hospital"
    for patient in (1, 2):
        series = folder / f"PLANTED_{patient}"
        series.mkdir(parents=True)
        for instance in range(3):
            dataset = header()
            dataset.PatientID = f"PLANTED{patient}"
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.999.{patient}", f"1.2.999.{patient}.1"
            dataset.SOPInstanceUID = f"1.2.999.{patient}.1.{instance}"
            written(dataset, series, f"PLANTED {instance}.dcm")
    return folder


@pytest.fixture
def run(tmp_path, hospital, capfd):
    """Returns a call of the verb: its status, and all it said."""

    def call(*more, output="clean", key=True):
        if key and not (tmp_path / "secret.key").exists():
            keys.write(keys.Key(bytes(range(32))), tmp_path / "secret.key")
        argv = [f"--input={hospital}", f"--output={tmp_path / output}", f"--key={tmp_path / 'secret.key'}", *more]
        status = anonymize.main(["radkit anonymize", *argv])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def add_trouble(hospital):
    """Adds a file of each kind that is set aside; returns their numbers in the sorted listing and the reasons."""
    whole = (hospital / "PLANTED_1" / "PLANTED 0.dcm").read_bytes()
    (hospital / "PLANTED_a.txt").write_text("PLANTED patient's letter")
    (hospital / "PLANTED_b.dcm").write_bytes(whole[:-100])
    (hospital / "PLANTED_c.dcm").write_bytes(b"")
    dictation = header()
    dictation.SOPClassUID, dictation.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.9.4.1", "1.2.999.5"
    written(dictation, hospital, "PLANTED_d.dcm")
    (hospital / "PLANTED_e.dcm").write_bytes(whole)  # once more the same
    other = header()
    other.PatientID, other.SOPInstanceUID, other.Rows = "PLANTED1", "1.2.999.1.1.0", 17
    written(other, hospital, "PLANTED_f.dcm")
    return {
        "7": "the file is not DICOM",
        "8": "the file is cut short",
        "9": "the file is empty",
        "10": "spoken words cannot be cleaned by this profile",
        "12": files.OTHER_CONTENT,
    }


def test_a_folder_is_cleaned(run, tmp_path):
    status, said, _ = run()
    assert status == 0
    assert said.strip().splitlines()[-1].startswith("anonymize: 6 files, 6 written, 0 duplicates, 0 set aside")
    images = scan.find(tmp_path / "clean")
    assert sum(p.suffix == ".dcm" for p in images) == 6
    assert not any(b"PLANTED" in content for content in tree(tmp_path / "clean").values())
    assert rows(tmp_path / "clean/quarantine.csv") == [["input_number", "path_digest", "reason"]]
    summary = json.loads((tmp_path / "clean/summary.json").read_text())
    assert (summary["files"], summary["patients"], summary["written"]) == (6, 2, 6)


def test_what_cannot_be_cleaned_is_listed_and_the_rest_is_done(run, hospital, tmp_path):
    expected = add_trouble(hospital)
    status, said, err = run()
    assert status == 1
    listed = rows(tmp_path / "clean/quarantine.csv")[1:]
    assert {number: reason for number, _, reason in listed} == expected
    key = keys.read(tmp_path / "secret.key")
    names = [p.relative_to(hospital).as_posix() for p in scan.find(hospital)]
    assert [digest for _, digest, _ in listed] == [key.digest(names[int(number) - 1]) for number, _, _ in listed]
    summary = json.loads((tmp_path / "clean/summary.json").read_text())
    assert (summary["files"], summary["written"], summary["duplicates"], summary["quarantined"]) == (12, 6, 1, 5)
    everything = b"".join(tree(tmp_path / "clean").values()).decode("latin-1") + said + err
    everything += "".join(p.as_posix() for p in (tmp_path / "clean").rglob("*"))
    assert "PLANTED" not in everything
    assert "1.2.999." not in everything
    assert keys.read(tmp_path / "secret.key")._secret.hex() not in everything


def test_a_second_run_has_nothing_to_do(run, hospital, tmp_path):
    add_trouble(hospital)
    assert run()[0] == 1
    before = tree(tmp_path / "clean")
    status, said, _ = run()
    assert (status, tree(tmp_path / "clean")) == (1, before)
    assert "already done" in said


def test_the_command_that_made_the_key_has_nothing_to_do_the_second_time(run):
    assert run("--create_key", key=False)[0] == 0
    status, said, _ = run("--create_key")
    assert status == 0
    assert "already done" in said


def test_the_same_key_gives_the_same_bytes_and_another_key_another_tree(run, tmp_path):
    run(output="one")
    run(output="two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    (tmp_path / "secret.key").unlink()
    assert run("--create_key", output="three", key=False)[0] == 0
    assert not {p for p in tree(tmp_path / "one") if p.endswith(".dcm")} & set(tree(tmp_path / "three"))


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(run, hospital, tmp_path):
    add_trouble(hospital)
    run(output="one")
    arguments = [f"--input={hospital}", f"--output={tmp_path / 'two'}", f"--key={tmp_path / 'secret.key'}"]
    flags = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner", "--direct_num_workers=2"]
    flags.append("--direct_running_mode=multi_processing")
    job = [sys.executable, "-m", "beam_jobs.anonymize", *arguments, *flags]
    assert subprocess.run(job, cwd=Path(__file__).parents[2], check=False, capture_output=True).returncode == 1
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_key_is_made_on_request_and_never_over_another(run, tmp_path):
    assert run("--create_key", key=False)[0] == 0
    made = (tmp_path / "secret.key").read_bytes()
    status, _, err = run("--create_key", output="again")
    assert status == 2
    assert "not overwritten" in err
    assert (tmp_path / "secret.key").read_bytes() == made
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--key=nowhere.key"], "nowhere.key does not exist; --create_key"),
        (["--keep_columns=age"], "without --tables"),
        (["--tables=nowhere.csv"], "nowhere.csv does not exist"),
        (["--create_keys"], "unknown flag"),
        (["--input=nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_use_is_refused_and_nothing_is_written(run, tmp_path, more, message):
    status, _, err = run(*more)
    assert status == 2
    assert message in err
    assert not (tmp_path / "clean").exists()


def test_a_refused_run_makes_no_key(run, tmp_path):
    assert run("--create_key", "--tables=nowhere.csv", key=False)[0] == 2
    assert not (tmp_path / "secret.key").exists()


def test_the_output_does_not_lie_in_the_input(run, hospital):
    status, _, err = run(f"--output={hospital}/clean")
    assert (status, "lies within --input" in err) == (2, True)


def test_a_table_follows_its_images(run, hospital, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "PatientID,name,SeriesInstanceUID,pneumonia\nPLANTED1,PLANTED,1.2.999.1.1,yes\nPLANTED2 ,PLANTED,,no\n"
    )
    status, said, _ = run(f"--tables={labels}", "--keep_columns=pneumonia")
    assert status == 0
    assert "labels.csv: 2 rows; columns left out: name" in said
    head, first, second = rows(tmp_path / "clean/labels.csv")
    assert head == ["PatientID", "SeriesInstanceUID", "pneumonia"]
    assert first[2:] + second[1:] == ["yes", "", "no"]
    images = [pydicom.dcmread(p) for p in scan.find(tmp_path / "clean") if p.suffix == ".dcm"]
    assert {first[0], second[0]} == {d.PatientID for d in images}
    assert first[1] in {d.SeriesInstanceUID for d in images}


@pytest.mark.parametrize(
    ("content", "keep", "message"),
    [
        ("name,age\nx,1\n", "age", "no column that links it to images"),
        ("PatientID,age\nx,1\n", "agee", "did you mean 'age'"),
        ("PatientID,age\nx\n", "age", "row 2 has 1 cells where the header has 2"),
        ("PatientID,PatientID\nx,1\n", "", "two columns of one name"),
        ("", "", "is empty"),
    ],
)
def test_a_table_that_cannot_be_mapped_is_refused(run, tmp_path, content, keep, message):
    (tmp_path / "labels.csv").write_text(content)
    status, _, err = run(f"--tables={tmp_path / 'labels.csv'}", f"--keep_columns={keep}")
    assert status == 2
    assert message in err
    assert not (tmp_path / "clean").exists()


def test_the_job_loads_no_tensorflow():
    code = "import sys, beam_jobs.anonymize; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


# --- options -----------------------------------------------------------------------------------------------------


def images(folder):
    return [pydicom.dcmread(p) for p in scan.find(folder) if p.suffix == ".dcm"]


def test_options_are_done_said_and_kept_in_provenance(run, hospital, tmp_path):
    path = next(hospital.rglob("*.dcm"))
    planted = pydicom.dcmread(path)
    planted.StudyDescription, planted.StudyDate, planted.StudyTime = "CT Lung PLANTED", "20200304", "112233"
    written(planted, path.parent, path.name)
    status, _, _ = run("--options=RetainLongModifiedDates, CleanDescriptors", "--unlisted=remove")
    assert status == 0
    (changed,) = [d for d in images(tmp_path / "clean") if "StudyDescription" in d]
    assert changed.StudyDescription == "CT Lung"
    assert changed.StudyDate not in ("", "20200304", "19000101")
    assert changed.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [c.CodeValue for c in changed.DeidentificationMethodCodeSequence] == ["113100", "113107", "113105"]
    decided = json.loads((tmp_path / "clean/provenance.json").read_text())["settings"]
    assert decided["options"] == ["RetainLongModifiedDates", "CleanDescriptors"]
    assert (decided["unlisted"], decided["mode"], decided["profile"]) == ("remove", "anonymize", profile.EDITION)
    chosen = settings.parse(decided["options"], "remove")
    assert (tmp_path / "clean/conformance.md").read_text() == conformance.statement(chosen, decided)
    again, said, _ = run("--options=CleanDescriptors,RetainLongModifiedDates", "--unlisted=remove")
    assert (again, "already done" in said) == (0, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--options=CleanDescriptor"], "did you mean 'CleanDescriptors'"),
        (["--options=all"], "'all' is no option of PS3.15"),
        (["--options=RetainLongFullDates,RetainLongModifiedDates"], "exclude each other"),
        (["--unlisted=keep"], "give clean or remove"),
        (["--mode=pseudonymise"], "give anonymize or pseudonymize"),
        (["--mode=pseudonymize"], "belong together"),
        (["--vault=v.vault"], "belong together"),
        (["--mode=anonymize", "--vault=v.vault"], "belong together"),
        (["--mode=pseudonymize", "--vault=nowhere/v.vault"], "its folder does not exist"),
        (["--escrow_certificate=nowhere.pem"], "nowhere.pem cannot be read"),
        (["--pixel_templates=t.json"], "without --options=CleanPixelData"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(run, tmp_path, more, message):
    status, said, err = run(*more)
    assert (status, said) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("hospital", "secret.key")] == []


def test_text_that_no_table_lists_stays_or_goes_as_asked(run, hospital, tmp_path):
    path = next(hospital.rglob("*.dcm"))
    dataset = pydicom.dcmread(path)
    dataset.KVP, dataset.PositionReferenceIndicator = "99", "SN"
    written(dataset, path.parent, path.name)
    for unlisted, left in (("clean", {"SOFT", "SN"}), ("remove", {"SOFT"})):
        assert run(f"--unlisted={unlisted}", output=unlisted)[0] == 0
        (found,) = [d for d in images(tmp_path / unlisted) if d.KVP == 99]
        assert {str(found.get(k)) for k in ("ConvolutionKernel", "PositionReferenceIndicator")} - {"None", ""} == left


# --- audit, conflicts, directory ----------------------------------------------------------------------------------


def test_the_audit_agrees_with_the_summary_and_tells_no_value(run, hospital, tmp_path):
    dataset = header()
    plant(dataset)
    dataset.SOPInstanceUID = "1.2.999.77"
    written(dataset, hospital, "PLANTED_g.dcm")
    assert run()[0] == 0
    said = "".join(p.read_text() for p in sorted((tmp_path / "clean/audit").glob("*.jsonl")))
    lines = [json.loads(line) for line in said.splitlines()]
    assert "PLANTED" not in said
    assert {line["instance"] for line in lines} == {d.SOPInstanceUID for d in images(tmp_path / "clean")}
    actions, summary = (
        Counter(line["action"] for line in lines),
        json.loads((tmp_path / "clean/summary.json").read_text()),
    )
    assert summary["attributes_removed"] == actions["X"] > 300
    changed = actions["Z"] + actions["D"] + actions["U"] + actions["C"]
    assert 0.9 * changed < summary["attributes_replaced"] <= changed  # sequences are told by their items, too
    assert (summary["verified"], summary["verified_findings"]) == (7, 0)


def test_versions_of_one_instance_are_kept_apart_and_leave_the_rest_alone(run, hospital, tmp_path):
    for rows_, name in ((17, "PLANTED_y.dcm"), (18, "PLANTED_z.dcm")):
        other = header()
        other.PatientID, other.Rows = "PLANTED1", rows_
        other.StudyInstanceUID, other.SeriesInstanceUID = "1.2.999.1", "1.2.999.1.1"
        other.SOPInstanceUID = "1.2.999.1.1.0"
        written(other, hospital, name)
    assert run()[0] == 1
    apart = sorted((tmp_path / "clean/conflicts").rglob("*.dcm"))
    assert sorted(pydicom.dcmread(p).Rows for p in apart) == [17, 18]
    assert sorted(p.suffixes[-2] for p in apart) == [".7", ".8"]
    (kept,) = [d for d in images(tmp_path / "clean") if d.SOPInstanceUID == pydicom.dcmread(apart[0]).SOPInstanceUID]
    assert kept.Rows == 16
    assert len(images(tmp_path / "clean")) == 6  # without the conflicts
    assert not any(b"PLANTED" in content for content in tree(tmp_path / "clean").values())
    assert [p for p in tree(tmp_path / "clean") if "other" in p or "settling" in p or "aside" in p] == []


def test_other_verbs_read_an_output_without_what_stands_beside_its_data(run, hospital, tmp_path, capfd):
    add_trouble(hospital)
    add_directory(hospital)
    assert run()[0] == 1
    assert {"audit", "conflicts", "DICOMDIR"} <= {p.name for p in (tmp_path / "clean").iterdir()}
    assert index.main(["radkit index", f"--input={tmp_path / 'clean'}", f"--output={tmp_path / 'index'}"]) == 0
    assert "index: 6 files" in capfd.readouterr().out
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "index" / "instances.parquet").to_pylist()
    assert len(table) == 6
    assert not [row for row in table if row["path"].split("/")[0] in ("audit", "conflicts", "MEDIA")]


@pytest.mark.parametrize("where", ["", "conflicts", "audit", "deeper"])
def test_what_was_put_into_an_output_is_found_wherever_it_stands(run, tmp_path, capfd, where):
    assert run()[0] == 0
    (tmp_path / "clean" / where).mkdir(exist_ok=True)
    written(header(), tmp_path / "clean" / where, "PLANTED.dcm")
    status = anonymize.main(["radkit anonymize", f"--verify={tmp_path / 'clean'}"])
    said = capfd.readouterr().out
    assert (status, "7 DICOM files, 1 with findings" in said, "PLANTED" in said) == (1, True, False)


def add_directory(hospital):
    directory = pydicom.Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.999.6"
    directory.FileSetID, directory.DirectoryRecordSequence = "PLANTED", []
    directory.save_as(hospital / "DICOMDIR", enforce_file_format=True)


def test_a_directory_is_made_anew_from_what_is_written(run, hospital, tmp_path):
    assert run(output="without")[0] == 0
    assert not (tmp_path / "without/DICOMDIR").exists()
    add_directory(hospital)
    assert run()[0] == 0
    summary = json.loads((tmp_path / "clean/summary.json").read_text())
    assert (summary["files"], summary["written"], summary["directories"], summary["quarantined"]) == (7, 6, 1, 0)
    content = (tmp_path / "clean/DICOMDIR").read_bytes()
    assert b"PLANTED" not in content
    assert b"1.2.999" not in content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of its own temporary folder
        found = FileSet(tmp_path / "clean/DICOMDIR")
        uids, patients = {instance.load().SOPInstanceUID for instance in found}, found.find_values("PatientID")
        del found
        gc.collect()
    assert uids == {d.SOPInstanceUID for d in images(tmp_path / "clean")}
    assert len(patients) == 2


# --- the way back -------------------------------------------------------------------------------------------------


def asked(tmp_path, capfd, *identifiers):
    ids = [f"--id={one}" for one in identifiers]
    where = [f"--vault={tmp_path / 'v.vault'}", f"--key={tmp_path / 'secret.key'}", "--reason=a test", "--json"]
    status = reidentify.main(["radkit reidentify", *where, *ids])
    return status, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_vault_tells_who_is_who_and_grows_with_the_next_run(run, hospital, tmp_path, capfd):
    pseudonymized = ("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}")
    assert run(*pseudonymized)[0] == 0
    key = keys.read(tmp_path / "secret.key")
    assert (tmp_path / "v.vault").stat().st_mode & 0o077 == 0
    assert b"PLANTED" not in (tmp_path / "v.vault").read_bytes()
    assert not any(b"PLANTED" in content for content in tree(tmp_path / "clean").values())
    assert not [p for p in tree(tmp_path / "clean") if "vault" in p or "parts" in p]
    one = next(d for d in images(tmp_path / "clean") if d.PatientID == key.patient("PLANTED1"))
    status, found = asked(tmp_path, capfd, one.PatientID, one.StudyInstanceUID, one.SOPInstanceUID)
    assert status == 0
    assert (found[0]["PatientID"], found[0]["PatientName"]) == ("PLANTED1", "PLANTED^NAME")
    assert found[1]["StudyInstanceUID"] == "1.2.999.1"
    assert found[2]["SOPInstanceUID"].startswith("1.2.999.1.1.")
    added = header()
    added.PatientID, added.SOPInstanceUID = "PLANTED3", "1.2.999.3.1.0"
    written(added, hospital, "PLANTED_3.dcm")
    assert run(*pseudonymized, output="more")[0] == 0
    status, found = asked(tmp_path, capfd, key.patient("PLANTED1"), key.patient("PLANTED3"))
    assert (status, [f["PatientID"] for f in found]) == (0, ["PLANTED1", "PLANTED3"])
    assert asked(tmp_path, capfd, "PNOBODY")[0] == 1


def test_an_anonymized_output_is_no_other_than_a_pseudonymized_one(run, tmp_path):
    run(output="one")
    run("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}", output="two")
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert {p for p in one if one[p] != two.get(p)} == {"provenance.json", "conformance.md"}
    assert set(one) == set(two)


@pytest.mark.parametrize("where", ["clean/v.vault", "clean", "clean/deep/v.vault"])
def test_a_vault_in_the_output_is_refused(run, tmp_path, where):
    status, _, err = run("--mode=pseudonymize", f"--vault={tmp_path / where}")
    assert (status, "lies within --output" in err) == (2, True)
    assert not (tmp_path / "clean").exists()


def test_a_vault_of_another_key_or_no_vault_is_refused_before_any_work(run, hospital, tmp_path):
    (tmp_path / "v.vault").write_text("PLANTED")
    assert run("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}")[0] == 2
    (tmp_path / "v.vault").unlink()
    assert run("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}")[0] == 0
    before = (tmp_path / "v.vault").read_bytes()
    keys.write(keys.Key(bytes(32)), tmp_path / "other.key")
    more = ("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}", f"--key={tmp_path / 'other.key'}")
    status, _, err = run(*more, output="other")
    assert (status, len(err.strip().splitlines())) == (2, 1)
    assert (tmp_path / "v.vault").read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_a_vault_that_is_gone_is_not_passed_over_as_already_done(run, tmp_path):
    # The output is finished, its vault is not there (moved, or another one is named): nobody could be asked back.
    more = ("--mode=pseudonymize", f"--vault={tmp_path / 'v.vault'}")
    assert run(*more)[0] == 0
    (tmp_path / "v.vault").unlink()
    status, _, _ = run(*more)
    assert status == 2 or (tmp_path / "v.vault").exists()


# --- escrow ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pem(tmp_path):
    """Returns a certificate's and its private key's file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made up")])
    day = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(9999))
    (tmp_path / "c.pem").write_bytes(builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (tmp_path / "p.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return tmp_path / "c.pem", tmp_path / "p.pem"


def test_the_owner_of_the_certificate_reads_the_originals_and_nobody_else(run, hospital, tmp_path, pem):
    certificate, private = pem
    status, _, _ = run(f"--escrow_certificate={certificate}")
    assert not any(b"PLANTED" in content for content in tree(tmp_path / "clean").values())
    for dataset in images(tmp_path / "clean"):
        (item,) = dataset.EncryptedAttributesSequence
        original = escrow.original_attributes(item, private.read_bytes())
        assert original.PatientName == "PLANTED^NAME"
        assert original.PatientID in ("PLANTED1", "PLANTED2")
        assert keys.read(tmp_path / "secret.key").uid(original.SOPInstanceUID) == dataset.SOPInstanceUID
        assert str(original.PatientBirthDate) == "19620304"
        assert "Rows" not in original  # what stayed is not carried along
    decided = json.loads((tmp_path / "clean/provenance.json").read_text())["settings"]
    assert decided["escrow"]
    assert "Originals encrypted within each instance: yes." in (tmp_path / "clean/conformance.md").read_text()
    summary = json.loads((tmp_path / "clean/summary.json").read_text())
    assert (status, summary["verified_findings"]) == (0, 0)  # an escrow that was asked for is no leak


@pytest.mark.parametrize(
    "content", [b"", b"PLANTED", b"-----BEGIN CERTIFICATE-----\nPLANTED\n-----END CERTIFICATE-----"]
)
def test_a_certificate_that_is_none_is_refused_before_any_work(run, tmp_path, content):
    (tmp_path / "c.pem").write_bytes(content)
    status, _, err = run(f"--escrow_certificate={tmp_path / 'c.pem'}")
    assert status == 2, "an empty certificate must not mean that nobody can read the originals"
    assert "PLANTED" not in err
    assert not (tmp_path / "clean").exists()


# --- what strangers tried -------------------------------------------------------------------------------------------


def test_a_name_that_is_not_utf8_stops_nobody(run, hospital, tmp_path):
    whole = (hospital / "PLANTED_1" / "PLANTED 0.dcm").read_bytes()
    (hospital / os.fsdecode(b"bad\xff\xfe.dcm")).write_bytes(whole.replace(b"1.2.999.1.1.0", b"1.2.999.1.1.9"))
    assert run()[0] == 0
    assert len(images(tmp_path / "clean")) == 7


def test_a_hospitals_own_codes_become_dummies(run, hospital, tmp_path):
    for path in hospital.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "M2195", "GEIIS", "PLANTED MR PELVIS"
        known = pydicom.Dataset()
        known.CodeValue, known.CodingSchemeDesignator, known.CodeMeaning = "113011", "DCM", "PLANTED"
        dataset.ProcedureCodeSequence = [code, known]
        dataset.save_as(path)
    assert run()[0] == 0
    for dataset in images(tmp_path / "clean"):
        local, known = dataset.ProcedureCodeSequence
        assert (local.CodingSchemeDesignator, local.CodeMeaning) == ("99RADKIT", "ANONYMIZED")
        assert (known.CodeValue, known.CodingSchemeDesignator) == ("113011", "DCM")
        assert "PLANTED" not in str(dataset)


def test_a_key_among_the_data_is_refused(run, hospital, tmp_path):
    for where in (hospital / "k.key", tmp_path / "clean" / "k.key"):
        status, _, err = run("--create_key", f"--key={where}", key=False)
        assert (status, "keep it elsewhere" in err) == (2, True)
        assert not where.exists()


@pytest.mark.parametrize("wrong", ["--option=CleanDescriptors", "--direct_num_workers=-1", "word"])
def test_a_flag_that_is_none_makes_no_key(run, tmp_path, wrong):
    status, _, err = run("--create_key", wrong, key=False)
    assert (status, len(err.strip().splitlines())) == (2, 1)
    assert not (tmp_path / "secret.key").exists()
    assert not (tmp_path / "clean").exists()
