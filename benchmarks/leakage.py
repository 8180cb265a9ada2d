"""How many planted copies `radkit check-leakage` finds among real images, and how many it finds where there are none.

    python benchmarks/leakage.py --copies 2500 [--images FOLDER ...] --output DIR

Half of the patients are trained on. The test set holds the others, and copies of training images under new names:
turned by any angle, mirrored, rescaled, windowed, with another gamma, inverted, cropped, noisy, as JPEG; each
treatment alone, and all of them together. Images are the demo's radiographs (radkit/demo/data/chest), whose patients
its table names; of PNG and JPEG files of further folders each is taken for a patient of its own, or what stands before
the first "-IM-" of its name is. Printed: recall by treatment, and the false alarms among all pairs of different
patients, which are named.
"""

import argparse
import csv
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beam_jobs import check_leakage
from radkit import config, outputs
from radkit.data import convert, records, schema, shards

DEMO = Path(__file__).resolve().parents[1] / "radkit" / "demo" / "data" / "chest"
DATA = config.Data(dataset="planted", kind="radiograph", image_size=(64, 64))
RECORDS_A_SHARD = 100
SEED = 20_261_122

Treatment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def turned(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    grown = bool(random.random() < 0.5)
    return ndimage.rotate(image, random.uniform(0, 360), reshape=grown, order=1, cval=float(image.min()))


def turned_straight(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.rot90(image, int(random.integers(1, 4)))


def mirrored(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.flip(image, int(random.integers(2)))


def rescaled(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return ndimage.zoom(image, np.exp(random.uniform(np.log(0.5), np.log(2))), order=1)


def windowed(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    low, high = np.quantile(image, [random.uniform(0, 0.08), random.uniform(0.92, 1)])
    return np.clip((image - low) / (high - low), 0, 1)


def bent(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return image ** np.exp(random.uniform(np.log(0.5), np.log(2)))


def inverted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 1 - image


def cropped(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    edges = (random.uniform(0, 0.1, (2, 2)) * np.array(image.shape)).astype(int)
    return image[edges[0, 0] : image.shape[0] - edges[1, 0], edges[0, 1] : image.shape[1] - edges[1, 1]]


def noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return image + random.normal(0, random.uniform(0, 0.03), image.shape)


def as_jpeg(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)).save(
        file, "JPEG", quality=int(random.integers(40, 95))
    )
    return np.asarray(Image.open(file), np.float64) / 255


def everything(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    for treatment in (cropped, mirrored, turned_straight, turned, rescaled, bent, windowed, noisy, as_jpeg):
        if random.random() < 0.6:
            image = treatment(image, random)
            image = (image - image.min()) / (image.max() - image.min())
    return inverted(image, random) if random.random() < 0.1 else image


ALONE: tuple[Treatment, ...] = (
    turned, turned_straight, mirrored, rescaled, windowed, bent, inverted, cropped, noisy, as_jpeg,
)  # fmt: skip


def images_of(folders: list[Path]) -> list[tuple[str, str, Path]]:
    """Returns patient, name and path of each image."""
    with (DEMO / "labels.csv").open(encoding="utf-8") as file:
        found = [
            (f"demo{row['patient_id']}", row["file"], DEMO / "images" / row["file"]) for row in csv.DictReader(file)
        ]
    for folder in folders:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        found += [(f"{folder.name}-{path.name.split('-IM-')[0]}", path.name, path) for path in paths]
    return found


def read(path: Path) -> np.ndarray:
    image = np.asarray(Image.open(path).convert("L"), np.float64)
    return (image - image.min()) / max(image.max() - image.min(), 1)


def record(name: str, patient: str, image: np.ndarray) -> dict[str, object]:
    fields = convert.fields_of(DATA)
    stored = np.round(np.clip(image, -0.2, 1.2) * 4000).astype(np.int16)[..., None]
    return {
        **{f.name: "" for f in fields if f.kind == "text"},
        **{f.name: np.nan for f in fields if f.kind == "numbers" and not f.shape},
        "image": stored, "rescale_slope": np.ones(1, np.float32), "rescale_intercept": np.zeros(1, np.float32),
        "spacing_mm": np.full(2, np.nan, np.float32), "origin_mm": np.zeros(3), "direction": np.eye(3),
        "record_uid": name, "series_uid": name, "study_uid": name, "patient_id": patient,
    }  # fmt: skip


def write(folder: Path, listed: list[tuple[str, str, Path]], copies: int) -> tuple[dict[str, str], dict[str, int]]:
    """Writes the data set; returns of which image each copy is, and how many records each side has."""
    random = np.random.default_rng(SEED)
    patients = np.unique([patient for patient, _, _ in listed])
    trained = set(random.permutation(patients)[: len(patients) // 2])
    train = [one for one in listed if one[0] in trained]
    test = [(f"test-{name}", patient, path, None) for patient, name, path in listed if patient not in trained]
    treatments = [ALONE[n // 2 % len(ALONE)] if n % 2 else everything for n in range(copies)]
    planted: dict[str, str] = {}
    for number, treatment in enumerate(treatments):
        patient, name, path = train[random.permutation(len(train))[0] if number >= len(train) else number]
        uid = f"copy-{treatment.__name__}-{number}"
        planted[uid] = f"train-{name}"
        test.append((uid, f"copy of {patient}", path, treatment))
    sides = {"train": [(f"train-{name}", patient, path, None) for patient, name, path in train], "test": test}
    lengths: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    folder.mkdir(parents=True)
    for split, held in sides.items():
        count = -(-len(held) // RECORDS_A_SHARD)
        for shard in range(count):
            part = held[shard * RECORDS_A_SHARD : (shard + 1) * RECORDS_A_SHARD]
            made = (records.encode(_made(*one, random), convert.fields_of(DATA)) for one in part)
            shards.write_shard(folder / shards.shard_name(DATA.dataset, split, shard, count), made)
            lengths[split].append(len(part))
    shards.write_metadata(
        folder, dataset=DATA.dataset, version=DATA.version, record_fields=convert.fields_of(DATA),
        shard_lengths=lengths, num_bytes={split: 0 for split in lengths}, description="planted copies",
    )  # fmt: skip
    outputs.write_json(folder / "data.json", config.data_to_json(DATA))
    outputs.write_json(folder / outputs.PROVENANCE, outputs.provenance("made", {"schema": schema.VERSION}, ""))
    return planted, {split: sum(of) for split, of in lengths.items()}


def _made(
    uid: str, patient: str, path: Path, treatment: Treatment | None, random: np.random.Generator
) -> dict[str, object]:
    image = read(path)
    return record(uid, patient, image if treatment is None else treatment(image, random))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=2500)
    parser.add_argument("--images", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    listed = images_of(given.images)
    planted, counts = write(given.output / "records", listed, given.copies)
    began = time.perf_counter()
    status = check_leakage.main(
        ["check-leakage", f"--input={given.output / 'records'}", f"--output={given.output / 'leakage'}"]
    )
    seconds = time.perf_counter() - began
    with (given.output / "leakage" / "pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    found = {frozenset((pair["record_1"], pair["record_2"])) for pair in pairs}
    missed = [uid for uid, name in planted.items() if frozenset((uid, name)) not in found]
    false = [pair for pair in pairs if _patient(pair["patient_1"]) != _patient(pair["patient_2"])]
    by = Counter(uid.split("-")[1] for uid in planted), Counter(uid.split("-")[1] for uid in missed)
    said = {
        "images": len(listed), "records": counts, "status": status, "seconds": round(seconds, 1),
        "pairs_compared": counts["train"] * counts["test"],
        "recall": {name: f"{count - by[1][name]} of {count}" for name, count in sorted(by[0].items())},
        "missed": missed, "false_alarms": [(p["record_1"], p["record_2"], p["score"]) for p in false],
    }  # fmt: skip
    print(json.dumps(said, indent=1))


def _patient(name: str) -> str:
    return name.removeprefix("copy of ")


if __name__ == "__main__":
    main()
