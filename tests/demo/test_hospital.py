import csv
import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from radkit.demo import chain, hospital
from radkit.dicom import annotations, invented, read_volumes, scan


def build(folder: Path) -> Path:
    hospital.build(chain.DATA, folder, num_volumes=2, num_radiographs=4, processes=1)
    return folder


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("hospital") / "export")


def test_the_same_images_come_out_in_millimetres_and_values(export: Path) -> None:
    found, unreadable = scan.series(scan.find(export))
    assert [path.name for path, _ in unreadable] == ["README.txt", "labels.csv"]
    of_mr = [s for s in found if s.is_image and s.modality == "MR" and "other" not in str(s.paths[0])]
    sources = hospital._spread(sorted((chain.DATA / "hippocampus" / "images").glob("*.nii.gz")), 2)
    by_uid = {invented.uid(p.name.removesuffix(".nii.gz"), "series"): p for p in sources}
    assert {s.uid for s in of_mr} == set(by_uid)
    for series in of_mr:
        source = SimpleITK.ReadImage(str(by_uid[series.uid]))
        volume = read_volumes(series.paths)[0]
        values = SimpleITK.GetArrayFromImage(source)
        np.testing.assert_allclose(volume.array, values, atol=float(volume.slope[0]) / 2 + 1e-6)
        corner = np.array(source.TransformIndexToPhysicalPoint((3, 5, 7)))
        np.testing.assert_allclose((volume.affine @ [3, 5, 7, 1])[:3], corner, atol=1e-4)
        mask = annotations.read_seg(series.paths[0].parents[1] / "segmentation.dcm", volume, hospital.SEGMENTS)
        truth = by_uid[series.uid].parents[1] / "labels" / by_uid[series.uid].name
        assert np.array_equal(mask, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(truth))))


def test_patients_are_invented_and_labels_name_their_images(export: Path) -> None:
    with (export / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in export.rglob("0001.dcm")]
    radiographs = {str(h.SOPInstanceUID): str(h.PatientName) for h in headers if h.Modality == "CR"}
    assert {row["SOPInstanceUID"]: row["PatientName"] for row in rows} == radiographs
    assert {row["pneumonia"] for row in rows} == {"0", "1"}
    assert all(len(str(h.SOPInstanceUID)) <= 64 for h in headers)


def test_the_same_export_comes_out_again(export: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = [p for p in folder.rglob("*") if p.is_file()]
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(build(tmp_path / "again")) == digests(export)


# SHA-256 over names and contents of the export of two volumes and four radiographs, but for its segmentations, in which
# highdicom's version stands: the demo's measured results rest on these very files.
SAME_AS_EVER = "88aad777020a9829e890b47a1d7075ea81d09f657b1e1bee38ce15faecc6f189"


def test_the_demos_files_are_those_that_its_results_were_measured_on(export: Path) -> None:
    digest = hashlib.sha256()
    for path in sorted(p for p in export.rglob("*") if p.is_file() and p.name != "segmentation.dcm"):
        digest.update(path.relative_to(export).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    assert digest.hexdigest() == SAME_AS_EVER
