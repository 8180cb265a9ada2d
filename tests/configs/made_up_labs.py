"""Made-up data in the layouts that public sets are downloaded in, one function a lab of `docs/labs`."""

import json
from pathlib import Path

import numpy as np

from radkit.dicom import write
from tests import conftest
from tests.data import made_up_sets as made

NUM_PATIENTS = 16
MANY = 40  # where a twentieth of them is to be somebody
_UID = f"{conftest.ROOT_UID}.77"


def chestxray14(folder: Path) -> None:
    rows, official = [], []
    for patient in range(1, MANY + 1):
        for number in range(2):
            name = f"{patient:08d}_{number:03d}.png"
            images = folder / "CXR14" / f"images_{1 + patient % 2:03d}" / "images"
            made.picture(images / name, made.values((40, 44), patient, np.uint8))
            findings = ("No Finding", "Effusion|Mass", "Hernia")[(patient + number) % 3]
            rows.append(
                f"{name},{findings},{number},{patient},{40 + patient},{'FM'[patient % 2]},PA,44,40,0.143,0.143,"
            )
            official += [name] if patient > MANY - 4 else []
    (folder / "CXR14" / "Data_Entry_2017.csv").write_text("\n".join([made.NIH, *rows]) + "\n")
    (folder / "CXR14" / "test_list.txt").write_text("\n".join(official))


def chexpert(folder: Path) -> None:
    header = (
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
        "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
        "Support Devices"
    )
    root = folder / "CheXpert-v1.0-small"
    for part, first, count in (("train", 1, MANY), ("valid", 64541, 4)):
        rows = []
        for patient in range(first, first + count):
            for view in ("frontal", "lateral"):
                path = Path(part, f"patient{patient:05d}", "study1", f"view1_{view}.jpg")
                made.picture(root / path, made.values((40, 44), patient, np.uint8))
                flag = ("1.0", "0.0", "-1.0", "")[patient % 4] if part == "train" else ("1.0", "0.0")[patient % 2]
                flags = ["", "", flag, "", "", "0.0", flag, "", "1.0", "", flag, "", "", ""]
                about = ["Frontal", "AP"] if view == "frontal" else ["Lateral", ""]
                rows.append(",".join([f"{root.name}/{path}", "Male", "61", *about, *flags]))
        (root / f"{part}.csv").write_text("\n".join([header, *rows]) + "\n")


def luna16(folder: Path) -> None:
    uids, nodules = [], ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for patient in range(MANY // 2):
        header = conftest.header("CT", patient, 0)
        uid = str(header["SeriesInstanceUID"])
        stored = made.values((20, 36, 38), patient)
        affine = np.diag([0.75, 0.75, 1.25, 1.0])
        series = folder / "LIDC-IDRI" / f"LIDC-IDRI-{patient:04d}" / f"{header['StudyInstanceUID']}" / uid
        write.write_series(stored, affine, header, series)
        if patient == 1:
            continue  # no series of LUNA16
        uids.append(uid)
        nodules += [f"{uid},14.2,13.1,12.5,6.3"] if patient % 3 else []
    (folder / "seriesuids.csv").write_bytes("\r\n".join([*uids, ""]).encode())
    (folder / "annotations.csv").write_text("\n".join(nodules) + "\n")


def rsna_pneumonia(folder: Path) -> None:
    rows = ["patientId,x,y,width,height,Target"]
    for patient in range(NUM_PATIENTS):
        name = f"0004cfab-14fd-4e49-80ba-{patient:012d}"
        stored = made.values((1, 64, 64), patient, np.uint16)
        said = {**conftest.header("CR", patient, 0), "PatientID": name}
        write.write_series(stored, None, said, folder / "written")
        (only,) = (folder / "written").iterdir()
        target = folder / "stage_2_train_images" / f"{name}.dcm"
        target.parent.mkdir(exist_ok=True)
        only.rename(target)
        boxes = ("10.0,12.0,20.0,24.0,1", "36.0,14.0,18.0,30.0,1")
        rows += [f"{name},{box}" for box in boxes] if patient % 3 else [f"{name},,,,,0"]
    (folder / "stage_2_train_labels.csv").write_text("\n".join(rows) + "\n")


def decathlon_spleen(folder: Path) -> None:
    root = folder / "Task09_Spleen"
    listed = []
    for number in range(NUM_PATIENTS):
        names = [f"./{part}/spleen_{number}.nii.gz" for part in ("imagesTr", "labelsTr")]
        _volume(root / names[0], root / names[1], number, labels=1)
        listed.append(dict(zip(("image", "label"), names)))
    made.stack(root / "imagesTs" / "spleen_99.nii.gz", made.values((8, 9, 10)))
    (root / "imagesTr" / "._spleen_0.nii.gz").write_bytes(b"what macOS leaves")
    said = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}, "training": listed, "test": []}
    (root / "dataset.json").write_text(json.dumps(said))


def lits(folder: Path) -> None:
    for number in range(NUM_PATIENTS):
        batch = folder / f"Training Batch {1 if number < 5 else 2}"
        _volume(batch / f"volume-{number}.nii", batch / f"segmentation-{number}.nii", number, labels=2)


def _volume(image: Path, mask: Path, seed: int, labels: int) -> None:
    """Writes a CT with a bright block a label, 2.5 x 1.5 x 1.5 mm."""
    values = np.random.default_rng(seed).normal(-50, 30, (12, 30, 32)).astype(np.int16)
    drawn = np.zeros(values.shape, np.uint8)
    for label in range(1, labels + 1):
        drawn[3:9, 5 * label : 5 * label + 4, 6:18] = label
    values[drawn > 0] += 150
    made.stack(image, values, (1.5, 1.5, 2.5))
    made.stack(mask, drawn, (1.5, 1.5, 2.5))
