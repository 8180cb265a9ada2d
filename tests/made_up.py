"""Made-up DICOM for all tests: invented patients, the same UIDs and bytes each time."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from radkit.dicom import write

ROOT_UID = "1.2.826.0.1.3680043.10.511.7"
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)

# What happens to one slice: a change of its dataset, or None, which leaves the slice out.
Fault = Callable[[Dataset], None] | None


def header(modality: str = "CT", patient: int = 1, series: int = 1, **more: object) -> dict[str, object]:
    """Returns what a made-up series says of itself; keywords in `more` stand over it."""
    uid = f"{ROOT_UID}.{patient}"
    return {
        "Modality": modality,
        "PatientName": f"Invented^P{patient}",
        "PatientID": f"P{patient:03d}",
        "StudyInstanceUID": f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.1.{series}",
        "FrameOfReferenceUID": f"{uid}.9",
        **more,
    }


def affine(
    spacing: Sequence[float] = (2.5, 0.7, 0.8),
    *,
    origin: Sequence[float] = (-11.0, 7.0, 31.0),
    tilt: float = 0.0,
    angles: Sequence[float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Returns the (4, 4) map from (column, row, slice, 1) to LPS mm.

    Args:
        spacing: Slice (along the normal), row, column; mm.
        origin: Centre of the first voxel.
        tilt: Degrees by which the line of slices leans in the direction of the rows' normal, as a CT gantry does.
        angles: Rotation about x, y, z, degrees.
    """
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    found = np.eye(4)
    shear = np.array([0.0, np.tan(np.radians(tilt)) * spacing[0], spacing[0]])
    found[:3, :3] = rotation @ np.stack([[spacing[2], 0, 0], [0, spacing[1], 0], shear], axis=1)
    found[:3, 3] = origin
    return found


def stored_values(shape: Sequence[int], dtype: type = np.int16, seed: int = 0) -> np.ndarray:
    """Returns noise of 12 bits, negative values among it where the type has them."""
    low, high = (-2048, 2048) if np.dtype(dtype).kind == "i" else (0, 4096)
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def ct_series(
    folder: Path,
    *,
    stored: np.ndarray | None = None,
    slices: int = 5,
    size: Sequence[int] = (6, 7),
    place: np.ndarray | None = None,
    faults: Mapping[int, Fault] | None = None,
    each: Callable[[Dataset], None] | None = None,
    **more: object,
) -> np.ndarray:
    """Writes a series, its file names in no order and InstanceNumbers against it; returns its stored values.

    Args:
        folder: Where.
        stored: (slices, rows, columns) int16 or uint16; noise when left out.
        slices: How many, for noise.
        size: Rows, columns, for noise.
        place: As `affine`.
        faults: What happens to which slice.
        each: A change of every slice's dataset.
        **more: Keywords of the header.
    """
    stored = stored_values((slices, *size)) if stored is None else stored
    write.write_series(stored, affine() if place is None else place, header(**more), folder / "ordered")  # type: ignore[arg-type]
    for index, path in enumerate(sorted((folder / "ordered").iterdir())):
        dataset = pydicom.dcmread(path)
        path.unlink()
        fault = (faults or {}).get(index, lambda _: None)
        if fault is None:
            continue
        name = hashlib.sha256(str(dataset.SOPInstanceUID).encode()).hexdigest()[:12]
        dataset.InstanceNumber = len(stored) - index
        for change in (each, fault):
            if change:
                change(dataset)
        save(dataset, folder / f"{name}.dcm")
    (folder / "ordered").rmdir()
    return stored


def radiograph(path: Path, stored: np.ndarray | None = None, **more: object) -> np.ndarray:
    """Writes one radiograph, which has no place in the patient; returns its stored values, (rows, columns)."""
    stored = stored_values((8, 9), np.uint16) if stored is None else stored
    said = header("CR", **more)
    del said["FrameOfReferenceUID"]
    path.parent.mkdir(parents=True, exist_ok=True)
    save(write.instance(stored, said, f"{said['SeriesInstanceUID']}.1"), path)
    return stored


def change(path: Path, what: Callable[[Dataset], None]) -> None:
    """Changes a file's dataset in place."""
    dataset = pydicom.dcmread(path)
    what(dataset)
    save(dataset, path)


def save(dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> None:
    """Writes a dataset of Explicit VR Little Endian, uncompressed, in another transfer syntax."""
    written = Dataset()
    written.update(dataset)
    written.file_meta = FileMetaDataset()
    written.file_meta.TransferSyntaxUID = syntax
    if syntax == RLELossless:
        written.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        written.compress(RLELossless, generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        written.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    written.save_as(path, enforce_file_format=True)


def without_preamble(path: Path, implicit: bool = True) -> None:
    """Rewrites a file as old archives hold it: the dataset alone, no preamble, no file meta."""
    read = pydicom.dcmread(path)
    dataset = Dataset()
    dataset.update(read)
    dataset.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
