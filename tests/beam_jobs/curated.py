"""What tests of curation share: made-up series, a call of the job, tables read back."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beam_jobs import curate as job
from beam_jobs import curate_close
from radkit import config
from radkit.dicom import write
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume
from tests import made_up

SIZES = (10, 24, 20)


def uid(patient: int, series: int = 1) -> str:
    return str(made_up.header(patient=patient, series=series)["SeriesInstanceUID"])


def phantom(seed: int, sizes: Sequence[int] = SIZES) -> np.ndarray:
    """Returns something like a body in air, HU + 1024, int16."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, s) for s in sizes], indexing="ij"), -1)
    body = np.linalg.norm(grid[..., 1:], axis=-1) < 0.8
    organ = np.linalg.norm(grid - random.uniform(-0.2, 0.2, 3), axis=-1) < 0.4
    values = np.where(body, 1024 + 40, 24) + 80 * organ + random.normal(0, 8, sizes)
    return values.astype(np.int16)


def series(
    folder: Path, patient: int, number: int = 1, *, seed: int = -1, modality: str = "CT", **more: object
) -> Path:
    """Writes a made-up series, below a folder of its own."""
    said = made_up.header(modality, patient, number, RescaleIntercept=-1024, RescaleSlope=1, **more)
    place = np.diag([1.5, 1.5, 2.0, 1.0])
    write.write_series(phantom(patient if seed < 0 else seed), place, said, folder / f"{patient}-{number}")
    return folder / f"{patient}-{number}"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def settings(folder: Path, **data: object) -> str:
    """Writes a config and returns its name."""
    made = config.Experiment(
        data=config.Data(dataset="made", **data),  # type: ignore[arg-type]
        model=config.Model("unet"),
        task=config.Task("segmentation"),
    )
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_json(made)))
    return str(path)


def run(folder: Path, *flags: str, output: str = "quality", **data: object) -> tuple[int, Path]:
    """Runs the job on `folder / "dicom"` with these settings of the data section; returns its status and the output."""
    said = [f"--config={settings(folder, **data)}", f"--input={folder / 'dicom'}"]
    return job.main(["radkit curate", *said, f"--output={folder / output}", *flags]), folder / output


def of_volume(_: Volume) -> list[Finding]:
    """What stands for `checks.of_volume`, which has tests of its own, where pixels are not the matter."""
    return []


def names(folder: Path, name: str) -> dict[str, list[str]]:
    """Returns the texts of findings of a kind by SeriesInstanceUID."""
    found: dict[str, list[str]] = {}
    for row in table(folder / curate_close.FINDINGS):
        if row["name"] == name:
            found.setdefault(row["SeriesInstanceUID"], []).append(row["text"])
    return found


def row(number: int, **more: object) -> dict[str, object]:
    """Returns what is known of a made-up series, as a batch writes it."""
    made: dict[str, object] = {
        "number": number, "uid": f"1.2.{number}", "patient_id": f"P{number}", "modality": "CT", "num_instances": 9,
        "thickness_mm": 5.0, "findings": [], "num_volumes": 1, "num_slices": 40, "spacing_mm": [5.0, 0.7, 0.7],
        "values": [-1000.0, 30.0, 900.0], "histogram": [1 / 64] * 64, "digests": [f"d{number}"], "aspect": 1.0,
    }  # fmt: skip
    return {**made, **more}


def volume(stored: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> Volume:
    """Returns a volume of these values, 1 mm by 1 mm by 2 mm."""
    count = len(stored)
    return Volume(
        stored, np.full(count, slope, np.float32), np.full(count, intercept, np.float32), np.eye(4), (2.0, 1.0, 1.0),
        {"Modality": "MR"}, (), (), (),
    )  # fmt: skip
