"""Made-up rows, as `radkit statistics` describes records: what the page and its parts are tested with."""

from typing import Any

import numpy as np

from radkit import config
from radkit.data import schema, splits
from radkit.data.exploring import image_features

CLASSES = ("no", "yes")
RADIOGRAPHS = config.Data(dataset="made", kind="radiograph", label="sick", class_names=CLASSES)
SITES = ("North", "South & <East>")


def rows(count: int, data: config.Data = RADIOGRAPHS, **more: Any) -> list[dict[str, Any]]:
    """Rows of 48 x 40 radiographs; those of class 1 are brighter in the middle, and more often of the first site."""
    return sorted((_row(number, data, **more) for number in range(count)), key=lambda r: splits.place(r["record_uid"]))


def _row(number: int, data: config.Data, **more: Any) -> dict[str, Any]:
    random = np.random.default_rng(number)
    sick = number % 2
    image = random.normal(500, 50, (48, 40)).astype(np.int16)
    image[12:36, 10:30] += np.int16(300 * sick)
    fields = schema.fields(data.kind)
    record = {
        **{field.name: "" for field in fields if field.kind == "text"},
        **{field.name: np.float32(np.nan) for field in fields if field.kind == "numbers" and not field.shape},
        "image": image[..., None],
        "rescale_slope": np.ones(1, np.float32),
        "rescale_intercept": np.zeros(1, np.float32),
        "spacing_mm": np.array([0.2, 0.2 + 0.1 * (number % 3)], np.float32),
        "record_uid": f"1.2.{number}",
        "patient_id": f"P{number // 2 if number % 5 else number}",
        "modality": "DX",
        "site": SITES[0] if random.random() < (0.9 if sick else 0.2) else SITES[1],
        "sex": ("F", "M", "")[number % 3],
        "age_years": np.float32(20 + number % 70),
    }
    row = image_features.describe(record, config.Data(dataset="made", kind="radiograph"))
    split = ("train", "train", "train", "validation", "test")[int(row["patient_id"][1:]) % 5]
    return {**row, "split": split, "label": label(number, data), **more}


def label(number: int, data: config.Data) -> Any:
    """Returns a row's label, of any kind."""
    if not data.label:
        return None
    if data.label_kind == "multi_label":
        return {name: (number // 3**place) % 3 - 1 for place, name in enumerate(data.class_names)}
    if data.label_kind == "regression":
        return None if number % 11 == 0 else number / 7
    if data.label_kind == "survival":
        return {"time": float(number), "event": number % 3 == 0}
    return data.class_names[number % 2]
