"""Real radiographs, what copies of them look like, and data sets made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import image as pictures
from scipy import ndimage

from radkit import config, outputs
from radkit.data import convert, records, schema, shards

CHEST = Path(__file__).parents[3] / "radkit" / "demo" / "data" / "chest" / "images"


def radiographs(count: int) -> list[np.ndarray]:
    """Returns radiographs of different patients, (256, 256) float, 0 to 1."""
    by_patient = {path.name.split("_")[0]: path for path in sorted(CHEST.glob("*.png"), reverse=True)}
    return [_grey(path) for _, path in sorted(by_patient.items())[:count]]


def _grey(path: Path) -> np.ndarray:
    picture = np.asarray(pictures.imread(path), np.float64)
    return picture if picture.ndim == 2 else picture[..., 0]


def texture(sizes: Sequence[int], seed: int) -> np.ndarray:
    """Returns a made-up image of structures of several sizes, float, 0 to 1."""
    random = np.random.default_rng(seed)
    image = sum(ndimage.gaussian_filter(random.normal(size=sizes), scale) * scale for scale in (1.5, 3, 6))
    return (image - image.min()) / np.ptp(image)


def copied(image: np.ndarray, seed: int) -> np.ndarray:
    """Returns a copy: cropped, mirrored, turned by any angle, rescaled, windowed, with another gamma, noisy."""
    random = np.random.default_rng(seed)
    image = image[tuple(slice(int(n * random.uniform(0, 0.06)), int(n * random.uniform(0.94, 1))) for n in image.shape)]
    image = np.flip(image, 0) if random.random() < 0.5 else image
    image = ndimage.rotate(image, random.uniform(0, 360), axes=(-2, -1), reshape=seed % 2 == 0, order=1)
    image = ndimage.zoom(image, random.uniform(0.7, 1.3), order=1)
    low, high = np.quantile(image, [0.02, 0.98])
    image = np.clip((image - low) / (high - low), 0, 1) ** random.uniform(0.6, 1.6)
    return image + random.normal(0, 0.01, image.shape)


def record(uid: str, patient: str, image: np.ndarray, data: config.Data, **more: Any) -> dict[str, Any]:
    """Returns a record's values; the image is stored in steps of 1 / 4000."""
    fields = convert.fields_of(data)
    rank = 3 if data.kind == "volume" else 2
    slices = len(image) if rank == 3 else 1
    return {
        **{f.name: "" for f in fields if f.kind == "text"},
        **{f.name: np.nan for f in fields if f.kind == "numbers" and not f.shape},
        "image": np.round(image * 4000).astype(np.int16)[..., None],
        "rescale_slope": np.ones(slices, np.float32),
        "rescale_intercept": np.zeros(slices, np.float32),
        "spacing_mm": np.ones(rank, np.float32),
        "origin_mm": np.zeros(3),
        "direction": np.eye(3),
        "record_uid": uid,
        "series_uid": uid,
        "study_uid": uid,
        "patient_id": patient,
        **more,
    }


def write_set(folder: Path, data: config.Data, sides: Mapping[str, list[dict[str, Any]]], shard: int = 8) -> Path:
    """Writes a data set of these records, as convert would."""
    folder.mkdir(parents=True)
    fields = convert.fields_of(data)
    lengths: dict[str, list[int]] = {}
    for split in shards.SPLITS:
        held = sides.get(split, [])
        parts = [held[start : start + shard] for start in range(0, len(held), shard)]
        lengths[split] = [len(part) for part in parts]
        for number, part in enumerate(parts):
            path = folder / shards.shard_name(data.dataset, split, number, len(parts))
            shards.write_shard(path, [records.encode(one, fields) for one in part])
    shards.write_metadata(
        folder,
        dataset=data.dataset,
        version=data.version,
        record_fields=fields,
        shard_lengths=lengths,
        num_bytes=dict.fromkeys(lengths, 0),
        description="made up",
    )
    outputs.write_json(folder / "data.json", config.data_to_json(data))
    outputs.write_json(folder / outputs.PROVENANCE, outputs.provenance("convert", {"schema": schema.VERSION}, ""))
    return folder
