"""The pass over all headers that `convert` begins with."""

import os
from pathlib import Path

import pytest

from beam_jobs import headers, index_batch
from radkit.dicom import scan
from radkit.errors import UserError
from tests import made_up

IN_MEMORY = "--direct_running_mode=in_memory"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder whose names sort otherwise as words than as folders, with files that are no DICOM."""
    found = tmp_path / "input"
    made_up.ct_series(found / "a", slices=3)
    made_up.ct_series(found / "a b", slices=2, patient=2)
    made_up.radiograph(found / "a.dcm", patient=3, series=2)
    (found / "note.txt").write_text("no image")
    (found / "a" / "empty.dcm").write_text("")
    (found / os.fsdecode(b"sp\xe4t.dcm")).write_bytes((found / "a.dcm").read_bytes())
    return found


@pytest.mark.parametrize("flags", [[], ["--direct_num_workers=2"], [IN_MEMORY]], ids=["one", "pool", "Beam"])
def test_rows_are_those_of_a_plain_loop(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    monkeypatch.setattr(index_batch, "FILES_PER_BATCH", 2)
    instances, unreadable = headers.read(folder, tmp_path / "aside", flags)
    named = sorted(path for path in folder.rglob("*.dcm") if path.name.isprintable() and path.stat().st_size)
    expected = [scan.read_instance(path) for path in named]
    assert sorted(instances, key=lambda instance: instance.path) == expected
    names = [instance.path.relative_to(folder).as_posix() for instance in instances]
    assert names == sorted(names)
    assert names[0].startswith("a b/")
    assert unreadable == [
        ("a/empty.dcm", "the file is empty"),
        ("note.txt", "the file is not DICOM (no SOPClassUID and SOPInstanceUID)"),
        ("sp\\xe4t.dcm", index_batch.NAME),
    ]
    assert not (tmp_path / "aside").exists()


def test_what_a_segmentation_refers_to_comes_along(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(path: Path) -> scan.Instance:
        return scan.Instance(path, {"Modality": "SEG", "PatientID": "half \udce4"}, ("1.2", "1.3"), ("liver",))

    monkeypatch.setattr(scan, "read_instance", drawn)
    instances, _ = headers.read(folder, tmp_path / "aside", [])
    assert instances[0] == drawn(instances[0].path)


def test_what_a_killed_run_left_is_not_taken_for_rows(tmp_path: Path, folder: Path) -> None:
    left = tmp_path / "aside" / "rows" / "000000.jsonl"
    left.parent.mkdir(parents=True)
    left.write_text('["of another run", "no DICOM"]\n')
    _, unreadable = headers.read(folder, tmp_path / "aside", [])
    assert "of another run" not in [path for path, _ in unreadable]


def test_an_empty_folder_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        headers.read(tmp_path / "input", tmp_path / "aside", [])
    assert not (tmp_path / "aside").exists()
