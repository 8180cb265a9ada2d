"""Training images a second: radkit's input pipeline beside MONAI's, nnU-Net's and stock TensorFlow Datasets'.

    python benchmarks/input_pipeline.py --peer_python .venv-bench/bin/python

The same pictures for all (the demo's MR, mirrored until it fills the size), two processes or threads each. `slices`:
512 x 512 int16 with window, rotation, zoom, shift, flip and noise. `crops`: random 96 x 96 x 96 patches of 160 x 256 x
256 volumes with their masks, with window, flips and gain; `crops_noise`: with noise, too. `parse`: records read and
decoded, nothing else, beside `tfds.builder_from_directory`. Each worker is a process of its own that fills its caches
before the clock starts; rounds are interleaved, and the median of each round's ratio is printed.

MONAI reads .npy files (its fastest reader); PersistentDataset and CacheDataset hold what comes before the first random
change. nnU-Net is its own data set class, data loader, chunk sizes and transforms (blosc2), in two processes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5
WINDOW = (0.0, 1500.0)
SLICE, PATCH, VOLUME = (512, 512), (96, 96, 96), (160, 256, 256)
NUM_SLICES, NUM_VOLUMES, NUM_FILES = 200, 12, 4  # FILES: shards
BATCH = {"slices": 8, "crops": 2, "crops_noise": 2}
NUM = {"slices": 800, "crops": 240, "crops_noise": 160, "parse": 400}
DEGREES, ZOOM, SHIFT, NOISE, GAIN = 12.0, 0.1, 20 / 512, 0.05, 0.1
PEERS = {
    "slices": ("monai_dataset", "monai_persistent", "monai_cache"),
    "crops": ("monai_dataset", "monai_persistent", "monai_cache", "nnunet_blosc2"),
    "crops_noise": ("monai_persistent", "monai_cache", "nnunet_blosc2"),
    "parse": ("tfds",),
}
_IN_OUR_PYTHON = ("radkit", "tfds")


def main() -> None:
    """Runs the benchmark, or one worker when it was started as one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer_python", default=sys.executable, help="Python of the peers' virtual environment.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tasks", default=",".join(PEERS), help="Which of slices, crops, crops_noise, parse.")
    parser.add_argument("--worker")
    parser.add_argument("--folder", type=Path)
    flags, _ = parser.parse_known_args()
    if flags.worker:
        print(json.dumps(_worker(flags.worker, flags.tasks, flags.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for task in flags.tasks.split(","):
            _compare(task, Path(folder), flags.rounds, flags.peer_python)
        _disk(Path(folder))


def _compare(task: str, folder: Path, rounds: int, peer_python: str) -> None:
    names = ("radkit", *PEERS[task])
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            python = sys.executable if name in _IN_OUR_PYTHON else peer_python
            rates[name].append(_start(python, name, task, folder))
    for name in names:
        ratio = statistics.median(own / peer for own, peer in zip(rates["radkit"], rates[name], strict=True))
        told = "" if name == "radkit" else f"; radkit is {ratio:.2f}x as fast"
        rate = statistics.median(rates[name])
        print(f"{task}: {name}: {rate:.1f} images/s (median of {rounds}){told}", flush=True)


def _start(python: str, name: str, task: str, folder: Path) -> float:
    said = [python, __file__, "--worker", name, "--tasks", task, "--folder", str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(said, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed at {task}:\n{done.stderr[-3000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _disk(folder: Path) -> None:
    for task in ("slices", "volumes"):
        ours = sum(p.stat().st_size for p in (folder / f"records_{task}").rglob("*.tfrecord-*"))
        cache = folder / f"persistent_{'slices' if task == 'slices' else 'crops'}"
        theirs = sum(p.stat().st_size for p in cache.rglob("*.pt"))
        if theirs:
            print(f"disk, {task}: records {ours / 2**20:.0f} MiB, {ours / theirs:.2f} of MONAI's PersistentDataset")


def _rate(batches: Iterator[Any], batch_size: int, num: int, warm_up: int) -> float:
    """Returns images a second of an iterator of batches, its first ones not counted."""
    for _ in range(warm_up):
        next(batches)
    began = time.perf_counter()
    steps = num // batch_size
    for _ in range(steps):
        next(batches)
    return steps * batch_size / (time.perf_counter() - began)


def _worker(name: str, task: str, folder: Path) -> float:
    workers: dict[str, Callable[[str, Path], float]] = {
        "radkit": _radkit, "tfds": _tfds, "nnunet_blosc2": _nnunet, "monai_dataset": _monai_dataset,
        "monai_persistent": _monai_persistent, "monai_cache": _monai_cache,
    }  # fmt: skip
    return workers[name](task, folder)


# The pictures.


def write(folder: Path) -> None:
    """Writes the pictures as .npy files for the peers, and as radkit's records."""
    import SimpleITK as sitk

    source = Path(__file__).resolve().parents[1] / "radkit" / "demo" / "data" / "hippocampus"
    found = sorted(source.rglob("*.nii.gz"))
    images = [p for p in found if "label" not in p.parent.name.lower()]
    masks = [p for p in found if "label" in p.parent.name.lower()]
    read = [(sitk.GetArrayFromImage(sitk.ReadImage(str(a))), sitk.GetArrayFromImage(sitk.ReadImage(str(b)))) for a, b in
            zip(images[:NUM_VOLUMES], masks[:NUM_VOLUMES], strict=True)]  # fmt: skip
    volumes = [(_filled(i.astype(np.int16), VOLUME), _filled(m.astype(np.uint8), VOLUME)) for i, m in read]
    slices = [_filled(image[n % len(image)], SLICE).copy() for n, (image, _) in enumerate(volumes * 20)][:NUM_SLICES]
    (folder / "npy").mkdir()
    for n, (image, mask) in enumerate(volumes):
        np.save(folder / "npy" / f"volume{n}.npy", image)
        np.save(folder / "npy" / f"mask{n}.npy", mask)
    for n, image in enumerate(slices):
        np.save(folder / "npy" / f"slice{n:04d}.npy", image)
    write_records(folder / "records_slices", "slices", [{"image": image[..., None]} for image in slices])
    write_records(
        folder / "records_volumes", "crops", [{"image": i[..., None], "mask": m[..., None]} for i, m in volumes]
    )


def _filled(image: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    paddings = [(0, max(0, size - have)) for have, size in zip(image.shape, sizes)]
    return np.pad(image, paddings, mode="symmetric")[tuple(slice(0, size) for size in sizes)]


def write_records(folder: Path, task: str, pictures: list[dict[str, np.ndarray]]) -> None:
    """Writes pictures as a data set of one training split."""
    from radkit import config, outputs
    from radkit.data import convert, records, schema, shards

    data = experiment(task).data
    fields = convert.fields_of(data)
    blank = {"text": "", "numbers": 1.0, "class": 0}
    folder.mkdir()
    lengths: list[int] = []
    sizes = 0
    for index in range(NUM_FILES):
        made = []
        for number, picture in enumerate(pictures[index::NUM_FILES]):
            rank = picture["image"].ndim - 1
            values: dict[str, Any] = {field.name: blank.get(field.kind) for field in fields}
            slopes = picture["image"].shape[0] if rank == 3 else 1
            values |= {
                **picture, "rescale_slope": np.ones(slopes, np.float32), "spacing_mm": np.ones(rank, np.float32),
                "rescale_intercept": np.zeros(slopes, np.float32), "origin_mm": np.zeros(3), "direction": np.eye(3),
                "patient_id": f"P{index}-{number}", "record_uid": f"1.2.{index + 1}.{number + 1}",
            }  # fmt: skip
            made.append(records.encode(values, fields))
        path = folder / shards.shard_name(data.dataset, "train", index, NUM_FILES)
        count, size = shards.write_shard(path, made)
        lengths, sizes = [*lengths, count], sizes + size
    outputs.write_json(folder / "data.json", config.data_to_json(data))
    outputs.write_json(folder / "patients.json", {"train": [], "validation": [], "test": []})
    settings = {"schema": schema.VERSION}
    outputs.write_json(folder / outputs.PROVENANCE, outputs.provenance("convert", settings, "benchmark"))
    shards.write_metadata(
        folder, dataset=data.dataset, version=data.version, record_fields=fields, description="benchmark",
        shard_lengths={"train": lengths, "validation": [], "test": []},
        num_bytes={"train": sizes, "validation": 0, "test": 0},
    )  # fmt: skip


# radkit, and TensorFlow Datasets on the same records.


def experiment(task: str) -> Any:
    """Returns the config that says what the peers' transforms say."""
    from radkit import config

    if task in ("slices", "parse"):
        data = config.Data("slices", kind="radiograph", image_size=SLICE, normalise="window", window=WINDOW)
        changes = config.Augment(
            rotate=(DEGREES,), scale=ZOOM, shift=SHIFT, flip=(False, True), noise=NOISE, chances=config.Chances()
        )
    else:
        data = config.Data("crops", mask_labels=("a", "b"), image_size=PATCH, normalise="window", window=WINDOW)
        noise = NOISE if task == "crops_noise" else 0.0
        changes = config.Augment(flip=(True, True, True), gain=GAIN, noise=noise)
    trainer = config.Trainer(batch_size=BATCH.get(task, 1), seed=1)
    return config.Experiment(data, config.Model("unet"), config.Task("segmentation"), augment=changes, trainer=trainer)


def _folder(task: str, folder: Path) -> Path:
    return folder / ("records_slices" if task in ("slices", "parse") else "records_volumes")


def _radkit(task: str, folder: Path) -> float:
    from radkit.data import convert, pipeline

    settings, where = experiment(task), _folder(task, folder)
    fields = convert.fields_of(settings.data)
    if task == "parse":
        read = pipeline.records(where, "train", fields).repeat().prefetch(8)
        return _rate(iter(read), 1, NUM[task], NUM_SLICES)
    dataset = pipeline.training(where, settings, fields)
    return _rate(iter(dataset), BATCH[task], NUM[task], 30)


def _tfds(task: str, folder: Path) -> float:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(_folder(task, folder)))
    # Small sets it would keep in memory, decoded; what is asked here is how fast records are read.
    once = tfds.ReadConfig(try_autocache=False)
    dataset = builder.as_dataset(split="train", shuffle_files=False, read_config=once).repeat().prefetch(8)
    return _rate(iter(dataset), 1, NUM[task], NUM_SLICES)


# MONAI.


def _monai_parts(task: str, folder: Path) -> tuple[list[dict[str, str]], list[Any], list[Any]]:
    """Returns the files, the transforms up to the first random one, and the random ones."""
    from monai import transforms as mt

    npy = folder / "npy"
    keys = ["image"] if task == "slices" else ["image", "mask"]
    first = [
        mt.LoadImaged(keys, ensure_channel_first=True, image_only=True),
        mt.ScaleIntensityRanged("image", *WINDOW, -1.0, 1.0, clip=True),
    ]
    if task == "slices":
        files = [{"image": str(path)} for path in sorted(npy.glob("slice*.npy"))]
        changes = [
            mt.RandAffined(
                "image", prob=1.0, rotate_range=np.deg2rad(DEGREES), scale_range=ZOOM, mode="bilinear",
                translate_range=SHIFT * SLICE[0], padding_mode="border", cache_grid=True,
            ),
            mt.RandFlipd("image", prob=0.5, spatial_axis=1),
            mt.RandGaussianNoised("image", prob=1.0, std=NOISE),
        ]  # fmt: skip
        return files, first, changes
    files = [{k: str(npy / f"{n}{i}.npy") for k, n in zip(keys, ("volume", "mask"))} for i in range(NUM_VOLUMES)]
    changes = [
        mt.RandSpatialCropd(keys, roi_size=PATCH, random_size=False),
        *(mt.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
        mt.RandScaleIntensityd("image", factors=GAIN, prob=1.0),
    ]
    if task == "crops_noise":
        changes.append(mt.RandGaussianNoised("image", prob=1.0, std=NOISE))
    return files, first, changes


def _monai(task: str, dataset: Any) -> float:
    import torch
    from monai.data import DataLoader

    torch.set_num_threads(1)
    sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=NUM[task] + 60 * BATCH[task])
    loader = DataLoader(dataset, batch_size=BATCH[task], num_workers=2, sampler=sampler, prefetch_factor=2)
    return _rate(iter(loader), BATCH[task], NUM[task], 30)


def _monai_dataset(task: str, folder: Path) -> float:
    from monai.data import Dataset
    from monai.transforms import Compose

    files, first, changes = _monai_parts(task, folder)
    return _monai(task, Dataset(files, Compose([*first, *changes])))


def _monai_persistent(task: str, folder: Path) -> float:
    from monai.data import PersistentDataset
    from monai.transforms import Compose

    files, first, changes = _monai_parts(task, folder)
    cache = folder / f"persistent_{task}"
    dataset = PersistentDataset(files, Compose([*first, *changes]), cache_dir=cache)
    for number in range(len(files)):  # writes what is not there yet
        dataset[number]
    return _monai(task, dataset)


def _monai_cache(task: str, folder: Path) -> float:
    from monai.data import CacheDataset
    from monai.transforms import Compose

    files, first, changes = _monai_parts(task, folder)
    return _monai(task, CacheDataset(files, Compose([*first, *changes]), num_workers=2, progress=False))


# nnU-Net.


def _nnunet(task: str, folder: Path) -> float:
    os.environ |= {name: str(folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    where = folder / "nnunet"
    if not where.is_dir():
        _write_nnunet(folder / "npy", where)
    changes: list[Any] = [
        MirrorTransform(allowed_axes=(0, 1, 2)),
        RandomTransform(
            MultiplicativeBrightnessTransform(
                multiplier_range=(1 - GAIN, 1 + GAIN), synchronize_channels=True, p_per_channel=1
            ),
            apply_probability=1.0,
        ),
    ]
    if task == "crops_noise":
        noise = GaussianNoiseTransform(noise_variance=(0, NOISE), p_per_channel=1, synchronize_channels=True)
        changes.append(RandomTransform(noise, apply_probability=1.0))
    labels = LabelManager({"background": 0, "a": 1, "b": 2}, None)
    loader = nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(where)), BATCH[task], PATCH, PATCH, labels, transforms=ComposeTransforms(changes)
    )
    augmenter = NonDetMultiThreadedAugmenter(loader, None, 2, num_cached=4, pin_memory=False, wait_time=0.002)
    try:
        return _rate(iter(augmenter), BATCH[task], NUM[task], 30)
    finally:
        augmenter._finish()


def _write_nnunet(npy: Path, where: Path) -> None:
    """Writes the volumes as nnU-Net's preprocessing does: float32, normalised, blosc2 in its own chunks."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    where.mkdir()
    for number in range(NUM_VOLUMES):
        low, high = WINDOW
        image = np.load(npy / f"volume{number}.npy").astype(np.float32)
        image = (np.clip((image - low) / (high - low), 0, 1) * 2 - 1)[None]
        mask = np.load(npy / f"mask{number}.npy").astype(np.int8)[None]
        block, chunk = comp_blosc2_params(image.shape, PATCH, image.itemsize)
        mask_block, mask_chunk = comp_blosc2_params(mask.shape, PATCH, mask.itemsize)
        properties = {"class_locations": {}, "spacing": (1.0, 1.0, 1.0)}
        nnUNetDatasetBlosc2.save_case(
            image, mask, properties, str(where / f"case{number:02d}"), chunks=chunk, blocks=block,
            chunks_seg=mask_chunk, blocks_seg=mask_block,
        )  # fmt: skip


if __name__ == "__main__":
    main()
