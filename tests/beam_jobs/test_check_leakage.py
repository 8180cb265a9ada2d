"""What is planted is found, told and shown; what is not there is not; the exit status says which."""

import csv
import json

import numpy as np
import pytest

from beam_jobs import check_leakage
from radkit import config, outputs
from tests.data.leakage import copies
from tests.reports import page_check

DATA = config.Data(
    dataset="chest", kind="radiograph", label="ill", class_names=("no", "yes"), image_size=(64, 64)
)  # fmt: skip
RADIOGRAPHS = copies.radiographs(16)


def record(number, image=None, patient=None, **more):
    image = RADIOGRAPHS[number] if image is None else image
    more = {"label": number % 2, "manufacturer": ("Acme", "Bolt")[number // 2 % 2], **more}
    return copies.record(f"1.{number}", patient or f"P{number}", image, DATA, **more)


def check(folder, *inputs, flags=()):
    """Runs the verb; returns status, `leakage.json` and the rows of `pairs.csv`."""
    output = folder / "leakage"
    said = [f"--input={path}" for path in inputs]
    status = check_leakage.main(["check-leakage", *said, f"--output={output}", *flags])
    if not output.exists():
        return status, {}, []
    with (output / "pairs.csv").open(encoding="utf-8") as file:
        return status, json.loads((output / "leakage.json").read_text()), list(csv.DictReader(file))


@pytest.fixture(scope="module")
def clean():
    return {"train": [record(n) for n in range(8)], "test": [record(n) for n in range(8, 12)]}


def test_different_patients_are_no_leak(tmp_path, clean, capsys):
    folder = copies.write_set(tmp_path / "set", DATA, clean)
    status, found, pairs = check(tmp_path, folder)
    assert status == 0
    assert found["leaks"] == 0
    assert pairs == []
    assert set(found["counts"].values()) == {0}
    assert "check-leakage: no leak among 4 test / 8 train records -> " in capsys.readouterr().out
    page_check.read((tmp_path / "leakage" / "report.html").read_text())
    names = {path.name for path in (tmp_path / "leakage").iterdir()}
    assert names == {"leakage.json", "shared.csv", "pairs.csv", "report.html", outputs.PROVENANCE}


def test_planted_copies_are_found_whatever_was_done_to_them(tmp_path, clean, capsys):
    planted = [record(100 + n, copies.copied(RADIOGRAPHS[n], n)) for n in range(6)]
    planted += [record(106, RADIOGRAPHS[6]), record(107, 1 - RADIOGRAPHS[7][:, ::-1])]
    folder = copies.write_set(tmp_path / "set", DATA, {**clean, "test": clean["test"] + planted})
    status, found, pairs = check(tmp_path, folder)
    assert status == 1
    assert {(p["record_1"], p["record_2"]) for p in pairs} == {(f"1.{n}", f"1.{100 + n}") for n in range(8)}
    assert {p["record_1"]: p["kind"] for p in pairs}["1.6"] == "identical_pixels"
    assert {p["record_1"]: p["second_is_first"] for p in pairs}["1.7"] == "mirrored, inverted"
    assert {p["is_leak"] for p in pairs} == {"yes"}
    assert (found["counts"]["identical_pixels"], found["counts"]["near_identical"]) == (1, 7)
    assert "LEAK (1 identical pixels, 7 near identical)" in capsys.readouterr().out
    assert len(page_check.read((tmp_path / "leakage" / "report.html").read_text()).images) == 8


def test_identifiers_on_two_sides_are_named(tmp_path, clean):
    prior = record(12, patient="P1", study_date="20240101")
    clean = {**clean, "train": [*clean["train"][:7], record(7, patient="P1", study_date="20240101")]}
    folder = copies.write_set(tmp_path / "set", DATA, {**clean, "test": [prior]})
    status, found, _ = check(tmp_path, folder)
    assert status == 1
    assert {kind: count for kind, count in found["counts"].items() if count} == {"shared_patient": 1, "same_day": 1}
    rows = (tmp_path / "leakage" / "shared.csv").read_text().splitlines()
    assert rows[1:] == ["shared_patient,P1,1 test; 2 train", "same_day,P1,1 test; 1 train"]


@pytest.mark.parametrize("folds", [False, True])
def test_one_image_of_two_patients_on_one_side_is_a_leak_where_folds_may_part_them(tmp_path, clean, folds):
    twice = {**clean, "train": [*clean["train"], record(20, copies.copied(RADIOGRAPHS[0], 3))]}
    folder = copies.write_set(tmp_path / "set", DATA, twice)
    if folds:
        (folder / "folds.json").write_text("{}")
    status, found, pairs = check(tmp_path, folder)
    assert status == int(folds)
    assert found["counts"]["near_identical_within"] == 1
    assert pairs[0]["is_leak"] == ("yes" if folds else "no")


def test_two_data_sets_are_compared_with_each_other(tmp_path, clean):
    folder = copies.write_set(tmp_path / "set", DATA, clean)
    other = copies.write_set(tmp_path / "other", DATA, {"test": [record(0, copies.copied(RADIOGRAPHS[2], 5), "X")]})
    status, found, pairs = check(tmp_path, folder, other)
    assert status == 1
    assert found["sides"] == {"chest: train": 8, "chest: test": 4, "chest (2): test": 1}
    assert [(p["side_1"], p["record_1"], p["side_2"]) for p in pairs] == [("chest: train", "1.2", "chest (2): test")]
    assert found["counts"]["shared_record"] == 1


def test_a_label_that_the_scanner_gives_away_is_a_warning(tmp_path, capsys):
    told = [
        record(n, copies.texture((40, 40), n), label=n % 2, manufacturer=("Acme", "Bolt")[n % 2]) for n in range(60)
    ]
    folder = copies.write_set(tmp_path / "set", DATA, {"train": told[:40], "test": told[40:]}, shard=30)
    status, found, _ = check(tmp_path, folder)
    assert status == 0
    assert [one["by"] for one in found["warnings"]["chest"]] == ["all together", "manufacturer"]
    assert "; 1 labels told by the header alone (warning) -> " in capsys.readouterr().out
    assert any("ill is told by the header alone" in note for note in found["notes"])


def test_volumes_are_compared_and_images_of_one_value_are_not(tmp_path):
    data = config.Data(dataset="brains")
    volumes = [copies.texture((28, 30, 32), seed) for seed in range(4)]

    def volume(uid, image):
        return copies.record(uid, f"P{uid}", image, data)

    flat = np.full((9, 9, 9), 0.5)
    train = [volume(str(n), image) for n, image in enumerate(volumes)] + [volume("flat", flat)]
    test = [volume("copy", np.rot90(volumes[1], 1, (0, 2))[:, 1:]), volume("as flat", flat)]
    folder = copies.write_set(tmp_path / "set", data, {"train": train, "test": test})
    status, found, pairs = check(tmp_path, folder)
    assert status == 1
    assert [(p["record_1"], p["record_2"]) for p in pairs] == [("1", "copy")]
    assert found["not_compared"] == 2
    assert any(note.startswith("2 images") for note in found["notes"])


def test_runs_and_runners_give_the_same_bytes(tmp_path, clean):
    planted = {**clean, "test": [*clean["test"], record(100, copies.copied(RADIOGRAPHS[3], 3))]}
    folder = copies.write_set(tmp_path / "set", DATA, planted)
    read = []
    for name, flags in (
        ("one", ()),
        ("two", ("--direct_num_workers=2",)),
        ("three", ("--direct_running_mode=in_memory",)),
    ):
        (tmp_path / name).mkdir()
        assert check(tmp_path / name, folder, flags=flags)[0] == 1
        read.append({p.name: p.read_bytes() for p in (tmp_path / name / "leakage").iterdir()})
    assert read[0] == read[1] == read[2]


def test_a_finished_run_is_not_done_again_and_says_the_same(tmp_path, clean, capsys):
    planted = {**clean, "test": [record(100, RADIOGRAPHS[3])]}
    folder = copies.write_set(tmp_path / "set", DATA, planted)
    assert check(tmp_path, folder)[0] == 1
    said = capsys.readouterr().out
    assert check(tmp_path, folder)[0] == 1
    assert capsys.readouterr().out == said
    assert check(tmp_path, folder, flags=["--warning_level=0.9"])[0] == 2
    assert "differs in settings" in capsys.readouterr().err


def test_what_cannot_be_checked_is_refused(tmp_path, clean, capsys):
    folder = copies.write_set(tmp_path / "set", DATA, clean)
    empty = copies.write_set(tmp_path / "empty", DATA, {})
    damaged = copies.write_set(tmp_path / "damaged", DATA, clean)
    shard = sorted(damaged.glob("*.tfrecord-*"))[0]
    shard.write_bytes(shard.read_bytes()[:-5])
    for inputs, said in (
        ([tmp_path / "none"], "is no folder"),
        ([folder, folder], "given twice"),
        ([empty], "holds no records"),
        ([damaged], "damaged or cut short"),
        ([], "--input must be given"),
    ):
        assert check(tmp_path, *inputs)[0] == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "leakage").exists()
    assert not list(tmp_path.glob("*.incomplete.*"))
