from pathlib import Path

import numpy as np
import pytest

from radkit import config
from radkit.errors import UserError
from tests.data import made_up_sets as made

SHAPE = (4, 6, 7)


def pairs(folder: Path, *names: str, images: str = "imagesTr", labels: str = "labelsTr") -> Path:
    for seed, name in enumerate(names):
        made.stack(folder / images / f"{name}.nii.gz", made.values(SHAPE, seed))
        made.stack(folder / labels / f"{name}.nii.gz", made.mask(SHAPE, 1))
    return folder


def describe(folder: Path, **said: object) -> None:
    made.as_json(folder / "dataset.json", said)


def decathlon(folder: Path, *names: str, **more: object) -> Path:
    pairs(folder, *names)
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    describe(
        folder,
        **{
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "organ"},
            "training": listed,
            "test": [],
            **more,
        },
    )
    return folder


def test_a_decathlon_folder_gives_its_cases_modality_and_names(tmp_path: Path) -> None:
    folder = decathlon(tmp_path, "a_001", "a_002")
    (folder / "imagesTr" / "._a_001.nii.gz").write_bytes(b"what macOS leaves")
    made.stack(folder / "imagesTs" / "a_003.nii.gz", made.values(SHAPE))
    found, _ = made.select("nifti", folder, made.volumes(modalities=()))
    assert [case.name for case in found.cases] == ["a_001", "a_002"]
    assert found.modality == "MR"
    assert [case.annotations[0].names for case in found.cases] == [((1, "organ"),)] * 2
    assert found.left_out == {"of imagesTs: a test set whose labels are held back": 1}
    assert [case.patient for case in found.cases] == ["a_001", "a_002"]
    assert [finding.name for finding in found.findings] == ["unknown_patients"]


def test_nnunets_raw_names_and_labels_are_read(tmp_path: Path) -> None:
    for name in ("case_0000", "other_0000", "other_0001"):
        made.stack(tmp_path / "imagesTr" / f"{name}.nii.gz", made.values(SHAPE))
    for name in ("case", "other"):
        made.stack(tmp_path / "labelsTr" / f"{name}.nii.gz", made.mask(SHAPE, 1))
    describe(tmp_path, channel_names={"0": "CT"}, labels={"background": 0, "liver": 1, "organ": 2}, numTraining=2)
    found, _ = made.select("nifti", tmp_path, made.volumes(modalities=("CT",)))
    assert [case.name for case in found.cases] == ["case"]
    assert found.cases[0].annotations[0].names == ((1, "liver"), (2, "organ"))
    assert found.refused == [("imagesTr/other_0000.nii.gz", "the case has 2 channels, one file each; one was expected")]


@pytest.mark.parametrize("folders", [("imagesTr", "labelsTr"), ("images", "labels"), ("Images", "Masks")])
def test_folders_of_equal_names_are_pairs(tmp_path: Path, folders: tuple[str, str]) -> None:
    pairs(tmp_path, "Köln 1", "zwei", images=folders[0], labels=folders[1])
    made.stack(tmp_path / folders[0] / "alone.nii.gz", made.values(SHAPE))
    made.stack(tmp_path / folders[1] / "homeless.nii.gz", made.mask(SHAPE, 1))
    found, _ = made.select("nifti", tmp_path, made.volumes())
    assert [case.name for case in found.cases] == ["Köln 1", "zwei"]
    assert found.left_out == {"no annotation that the config asks for": 1}
    told = {finding.name: finding.text for finding in found.findings}
    assert told["labels_without_images"] == "1 annotations whose images are not there"
    assert told["images_without_labels"] == "1 images have no annotation that the config asks for"


def test_images_that_lie_beside_their_folder_of_masks_are_found(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b", images=".")
    assert len(made.select("nifti", tmp_path, made.volumes())[0].cases) == 2


def test_a_table_tells_patient_sex_and_age_of_volumes(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    rows = [{"file": f"{n}.nii.gz", "patient": "P", "sex": "female", "age": 61} for n in ("a", "b")]
    found, _ = made.select("nifti", tmp_path, made.volumes(), labels=made.table(tmp_path / "t.csv", rows))
    assert [case.patient for case in found.cases] == ["P", "P"]
    assert dict(found.cases[0].facts) == {"PatientSex": "F", "PatientAge": "061Y"}
    assert not found.findings


def test_what_values_mean_may_be_said(tmp_path: Path) -> None:
    decathlon(tmp_path, "a", labels={"0": "background", "1": "Anterior"})
    with pytest.raises(UserError, match=r"'Anterior'.*asks for 'organ'.*--mask_names='1=organ'"):
        made.select("nifti", tmp_path, made.volumes())
    found, _ = made.select("nifti", tmp_path, made.volumes(), mask_names=((1, "organ"),))
    assert found.cases[0].annotations[0].names == ((1, "organ"),)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"labels": {"0": "background", "region": [1, 2]}}, "one number a label was expected"),
        ({"labels": ["a"]}, "'labels' is no object"),
        ({"training": [{"image": "x.nii.gz"}]}, "must hold objects with 'image' and 'label'"),
        ({"training": [{"image": "../x.nii.gz", "label": "y"}]}, "outside its folder"),
        ({"training": [{"image": "imagesTr/gone.nii.gz", "label": "y"}]}, "1 of 1 images .* are not there"),
        ({"training": [{"image": "imagesTr/a.nii.gz", "label": "y"}] * 2}, "lists an image twice"),
        ({"modality": {"0": "T1", "1": "CT"}}, "name it, as --modality"),
    ],
)
def test_a_description_that_misleads_is_refused(tmp_path: Path, said: dict[str, object], message: str) -> None:
    decathlon(tmp_path, "a", **said)
    with pytest.raises(UserError, match=message):
        made.select("nifti", tmp_path, made.volumes(modalities=()))


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    (pairs(tmp_path, "a") / "dataset.json").write_text("{")
    with pytest.raises(UserError, match="no JSON in UTF-8"):
        made.select("nifti", tmp_path, made.volumes())
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(UserError, match="holds no object"):
        made.select("nifti", tmp_path, made.volumes())


def test_a_modality_that_the_config_does_not_ask_for_is_refused(tmp_path: Path) -> None:
    decathlon(tmp_path, "a")
    with pytest.raises(UserError, match=r"Modality is MR, and data.modalities asks for CT"):
        made.select("nifti", tmp_path, made.volumes(modalities=("CT",)))
    assert made.select("nifti", tmp_path, made.volumes(modalities=("CT",)), modality="CT")[0].modality == "CT"


def test_annotations_without_images_are_refused_where_the_config_says_so(tmp_path: Path) -> None:
    made.stack(pairs(tmp_path, "a") / "labelsTr" / "b.nii.gz", made.mask(SHAPE, 1))
    with pytest.raises(UserError, match="without_image='report'"):
        made.select("nifti", tmp_path, made.volumes(annotations=config.Annotations(without_image="refuse")))


def test_images_without_annotations_are_taken_as_empty_where_the_config_says_so(tmp_path: Path) -> None:
    made.stack(pairs(tmp_path, "a") / "imagesTr" / "b.nii.gz", made.values(SHAPE))
    found, _ = made.select("nifti", tmp_path, made.volumes(annotations=config.Annotations(missing="empty")))
    assert [len(case.annotations) for case in found.cases] == [1, 0]
    with pytest.raises(UserError, match="missing='leave_out'"):
        made.select("nifti", tmp_path, made.volumes(annotations=config.Annotations(missing="refuse")))


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    made.picture(tmp_path / "a.png", made.values((6, 7), dtype=np.uint8))
    with pytest.raises(UserError, match="holds no images of --format nifti"):
        made.select("nifti", tmp_path, made.volumes())
