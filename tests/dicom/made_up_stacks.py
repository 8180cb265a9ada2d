"""Made-up series of a stack of slices whose data sets are changed before they are written: faults, several volumes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import SeriesError, Volume, read_volumes, write
from tests import made_up


def slices(
    place: np.ndarray, values: np.ndarray, modality: str = "CT", volume: int = 0, **more: object
) -> list[Dataset]:
    """Returns one data set a slice, InstanceNumber rising along the slices.

    Args:
        place: (4, 4), from (column, row, slice, 1) to LPS mm.
        values: (slices, rows, columns) int16 or uint16.
        modality: CT or MR.
        volume: Counts the volumes of a series: other UIDs, and InstanceNumbers after those of the volume before.
        **more: Keywords of the header.
    """
    header = made_up.header(modality, **more)
    spacing = np.linalg.norm(place[:3, :2], axis=0)
    found: list[Dataset] = []
    for index, plane in enumerate(values):
        number = volume * len(values) + index + 1
        dataset = write.instance(plane, header, f"{header['SeriesInstanceUID']}.{number}")
        dataset.InstanceNumber = number
        dataset.ImageOrientationPatient = text((place[:3, :2] / spacing).T)
        dataset.PixelSpacing = text(spacing[::-1])
        dataset.SliceThickness = text(abs(np.linalg.det(place[:3, :3]) / spacing.prod()))[0]
        move(dataset, place[:3, 3] + index * place[:3, 2])
        found.append(dataset)
    return found


def move(dataset: Dataset, position_mm: np.ndarray) -> None:
    """Sets a slice at another place."""
    dataset.ImagePositionPatient = text(position_mm)


def text(values: object) -> list[str]:
    """Returns numbers as decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [f"{0.0 if abs(v) < 1e-9 else float(v):.10g}" for v in np.asarray(values, np.float64).ravel()]


def renamed(dataset: Dataset, uid: str) -> Dataset:
    """Returns the data set with another SOPInstanceUID."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    return dataset


def save(folder: Path, datasets: Sequence[Dataset], seed: int = 0) -> list[Path]:
    """Writes data sets in an emptied folder; returns the files in the data sets' order, which names say nothing of."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    names = np.random.default_rng(seed).permutation(len(datasets))
    paths = [folder / f"{name:05d}.dcm" for name in names]
    for dataset, path in zip(datasets, paths, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def said(paths: Sequence[Path], **policy: object) -> set[str]:
    """Returns what a reader is told of a series: findings of all volumes, or why it is refused."""
    try:
        volumes = read_volumes(paths, **policy)  # type: ignore[arg-type]
    except SeriesError as error:
        return {str(error)}
    return {finding for volume in volumes for finding in volume.findings}


def each_once(volumes: Sequence[Volume], paths_by_uid: Mapping[str, Path]) -> None:
    """Fails unless every slice of the input stands in exactly one volume, beside its own file and values' place."""
    found = [(uid, path) for v in volumes for uid, path in zip(v.instance_uids, v.paths, strict=True)]
    assert sorted(found) == sorted(paths_by_uid.items())
    for volume in volumes:
        assert len(volume.instance_uids) == len(volume.frame_numbers)


def ramp(place: np.ndarray, shape: Sequence[int], gradient: Sequence[float], offset: float) -> np.ndarray:
    """Returns a linear function of the place in the patient at a grid's voxels, (slices, rows, columns) float64."""
    k, j, i = np.indices(shape)
    at = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ place.T
    return at[..., :3] @ np.asarray(gradient) + offset


def quantized(values: np.ndarray) -> tuple[np.ndarray, dict[str, object], float]:
    """Returns values as uint16, the RescaleSlope and RescaleIntercept that lead back, and the most they may be off."""
    low, high = float(values.min()), float(values.max())
    slope, intercept = text([max(high - low, 1e-3) / 65500, low])
    stored = np.clip(np.round((values - float(intercept)) / float(slope)), 0, 65535).astype(np.uint16)
    off = float(slope) + 1e-6 * max(abs(low), abs(high))
    return stored, {"RescaleSlope": slope, "RescaleIntercept": intercept}, off
