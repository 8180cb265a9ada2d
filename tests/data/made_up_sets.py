"""Made-up public sets: folders of NIfTI and PNG files, tables and COCO files."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from radkit import config
from radkit.data import public, public_cases

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def values(shape: Sequence[int], seed: int = 0, dtype: type = np.int16) -> np.ndarray:
    """Returns noise of 11 bits, negative values among it where the type has them."""
    low = -1000 if np.dtype(dtype).kind == "i" else 0
    return np.random.default_rng(seed).integers(low, 1000, shape).astype(dtype)


def stack(path: Path, array: np.ndarray, spacing: Sequence[float] = (0.7, 0.8, 2.5), turn: float = 0.0) -> Path:
    """Writes (slices, rows, columns) as a file that SimpleITK writes; spacing is column, row, slice."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-11.0, 7.5, 31.0))
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def picture(path: Path, array: np.ndarray) -> Path:
    """Writes (rows, columns) as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    return path


def mask(shape: Sequence[int], *numbers: int) -> np.ndarray:
    """Returns a mask with a block of each number."""
    made = np.zeros(shape, np.uint8)
    for index, number in enumerate(numbers):
        made[..., 1 + index : 2 + index, 1:4] = number
    return made


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Writes a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_json(path: Path, value: object) -> Path:
    """Writes JSON."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def volumes(**more: object) -> config.Data:
    """Returns the data section for volumes with a mask of one label."""
    return config.Data(**{"dataset": "made", "modalities": ("MR",), "mask_labels": ("organ",), **more})  # type: ignore[arg-type]


def pictures(**more: object) -> config.Data:
    """Returns the data section for radiographs with a class."""
    said = {"dataset": "made", "kind": "radiograph", "label": "ill", "class_names": ("healthy", "ill"), **more}
    return config.Data(**said)  # type: ignore[arg-type]


def select(
    format_: public_cases.Format, folder: Path, data: config.Data, **more: object
) -> tuple[public.Selection, public_cases.Asked]:
    """Returns what a set comes to, and what was asked."""
    asked = public_cases.Asked(format_, folder, **more)  # type: ignore[arg-type]
    return public.select(asked, data), asked
