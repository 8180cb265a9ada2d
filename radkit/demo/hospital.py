"""A hospital-like folder of DICOM: public images under invented patients, so that there is something to de-identify."""

import csv
import datetime
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from radkit.dicom import annotations, foreign, invented
from radkit.dicom.volumes import read_volumes

T = TypeVar("T")

SEGMENTS = ("Anterior hippocampus", "Posterior hippocampus")


def build(data: Path, folder: Path, *, num_volumes: int, num_radiographs: int, processes: int) -> None:
    """Writes the hospital's export: one folder a patient, a labels table, and a stray text file.

    Args:
        data: The demo's data folder (`hippocampus/`, `chest/`, `series/`).
        folder: Where; made when absent.
        num_volumes: How many hippocampus volumes, each a series of slices and a segmentation.
        num_radiographs: How many chest radiographs.
        processes: How many processes write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    volumes = _spread(sorted((data / "hippocampus" / "images").glob("*.nii.gz")), num_volumes)
    rows = _spread(_label_rows(data), num_radiographs)
    with ProcessPoolExecutor(processes) as pool:
        work: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            *((_write_volume, (path, folder)) for path in volumes),
            *((_write_radiograph, (row, data, folder)) for row in rows),
        ]
        done = [pool.submit(function, *arguments) for function, arguments in work]
        for future in tqdm(done, desc="hospital", unit="exam"):
            future.result()
    _write_labels(rows, folder)
    for series in sorted((data / "series").iterdir()):
        shutil.copytree(series, folder / "other" / series.name)
    (folder / "README.txt").write_text("Export for research, 14 March. Please ring extension 4711 when done.\n")


def _spread(everything: Sequence[T], count: int) -> list[T]:
    """Returns `count` of all, evenly spaced: the labels table is sorted by class."""
    return [everything[number * len(everything) // count] for number in range(count)]


def _label_rows(data: Path) -> list[dict[str, str]]:
    with (data / "chest" / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _write_volume(path: Path, folder: Path) -> None:
    name = path.name.removesuffix(".nii.gz")
    header = {
        **invented.patient(name),
        **invented.study(name, "MR Brain, memory clinic"),
        "Modality": "MR",
        "Manufacturer": invented.MAKER,
        "BodyPartExamined": "BRAIN",
        "FrameOfReferenceUID": invented.uid(name, "frame"),
    }
    target = folder / str(header["PatientID"]) / "mr"
    invented.as_dicom(foreign.read(path), header, target)
    volume = read_volumes(target.glob("*.dcm"))[0]
    mask = foreign.read(path.parents[1] / "labels" / path.name)  # on the image's grid
    when = datetime.datetime.strptime(f"{header['StudyDate']}{header['StudyTime']}", "%Y%m%d%H%M%S")
    out = target.parent / "segmentation.dcm"
    annotations.write_seg(mask.stored.astype(np.uint8), volume, SEGMENTS, out, when, by_hand=True)


def _radiograph_uids(row: dict[str, str]) -> tuple[str, str]:
    series = invented.uid(row["file"], "series")
    return series, f"{series}.1"


def _person(row: dict[str, str]) -> dict[str, object]:
    return invented.patient(f"chest {row['patient_id']}", sex=row["sex"], age=int(float(row["age"])))


def _write_radiograph(row: dict[str, str], data: Path, folder: Path) -> None:
    header = {
        **_person(row),
        **invented.study(row["file"], "Chest radiograph"),
        "Modality": "CR",
        "Manufacturer": invented.MAKER,
        "BodyPartExamined": "CHEST",
        "ViewPosition": row["view"],
    }
    target = folder / str(header["PatientID"]) / Path(row["file"]).stem
    invented.as_dicom(foreign.read(data / "chest" / "images" / row["file"]), header, target)


def _write_labels(rows: Sequence[dict[str, str]], folder: Path) -> None:
    def table() -> Iterator[tuple[str, ...]]:
        for row in rows:
            yield _radiograph_uids(row)[1], str(_person(row)["PatientName"]), row["pneumonia"]

    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("SOPInstanceUID", "PatientName", "pneumonia"))
        writer.writerows(table())
