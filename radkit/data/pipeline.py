"""Shards to batches: a deterministic function of the config and its seed.

Records are parsed and prepared once and kept in memory where they fit; order, crops and augmentation are drawn anew by
stateless seeds.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from radkit import config, outputs
from radkit.data import augment, prepare, schema, shards
from radkit.errors import UserError

# Prepared records (float32 image, uint8 mask) are kept in memory up to this size.
CACHE_BYTES = 4 * 2**30
_OF_RECORDS = (
    "dataset", "kind", "mask_labels", "label", "class_names", "image_dtype", "colour", "tilt", "record_orientation",
    "record_spacing_mm", "record_size", "box_labels", "label_kind", "label_unit", "event", "report",
)  # fmt: skip


def check(folder: Path, data: config.Data) -> None:
    """Refuses when a data set was converted with other record fields than the config's, or on another grid.

    The export tells clients the config's grid, so that it must be the records'.

    Raises:
        UserError: It names the field that differs.
    """
    if not (folder / "data.json").is_file():
        raise UserError(f"{folder} has no data.json; convert the data set with radkit")
    _check_schema(folder)
    written = outputs.read_json(folder / "data.json")
    wanted, unsaid = (config.data_to_json(section) for section in (data, config.Data("")))
    for name in _OF_RECORDS:
        found = written.get(name, unsaid[name])
        if found != wanted[name]:
            raise UserError(
                f"the records in {folder} were converted with data.{name}={found!r}, the config says "
                f"{wanted[name]!r}; convert again or use the config they were converted with"
            )


def _check_schema(folder: Path) -> None:
    found = (outputs.read_provenance(folder) or {}).get("settings", {}).get("schema")
    if found != schema.VERSION:
        raise UserError(
            f"the records in {folder} are of schema {found or 'unknown'}, this radkit reads schema {schema.VERSION}; "
            "convert again"
        )


def parse(record: tf.Tensor, record_fields: tuple[schema.Field, ...]) -> dict[str, tf.Tensor]:
    """Returns one record's fields as tensors, pixels as stored."""
    spec: dict[str, Any] = {}
    for field in record_fields:
        spec.update(_spec(field))
    features = tf.io.parse_single_example(record, spec)
    return {field.name: _tensor(field, features) for field in record_fields}


_LISTS = {"numbers": tf.float32, "classes": tf.int64, "texts": tf.string}


def _spec(field: schema.Field) -> dict[str, Any]:
    if field.kind == "numbers" and not field.shape:
        return {field.name: tf.io.FixedLenFeature([], tf.float32)}
    if field.kind in _LISTS:
        inner = field.shape[1:] if field.shape[0] is None else []
        return {field.name: tf.io.FixedLenSequenceFeature(inner, _LISTS[field.kind], allow_missing=True)}
    if field.kind in ("class", "flags"):
        return {field.name: tf.io.FixedLenFeature(field.shape, tf.int64)}
    if field.kind == "text" or not field.has_free_size:
        return {field.name: tf.io.FixedLenFeature([], tf.string)}
    return {
        f"{field.name}/shape": tf.io.FixedLenFeature([len(field.shape)], tf.int64),
        f"{field.name}/value": tf.io.FixedLenFeature([], tf.string),
    }


def _tensor(field: schema.Field, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
    if field.kind != "array":
        return features[field.name]
    if not field.has_free_size:
        return tf.reshape(tf.io.decode_raw(features[field.name], field.dtype), field.shape)
    values = tf.io.decode_raw(features[f"{field.name}/value"], field.dtype)
    return tf.ensure_shape(tf.reshape(values, features[f"{field.name}/shape"]), field.shape)


def records(folder: Path, split: str, record_fields: tuple[schema.Field, ...]) -> tf.data.Dataset:
    """Returns a split's parsed records in the order they were written, each with its modality values as `values`."""
    files = [str(path) for path in shards.split_files(folder, split)]
    if not shards.num_records(folder, split):
        raise UserError(f"split {split!r} of {folder} holds no records; convert more patients or change data.splits")

    def parsed(record: tf.Tensor) -> dict[str, tf.Tensor]:
        fields = parse(record, record_fields)
        values = prepare.modality_values(fields["image"], fields["rescale_slope"], fields["rescale_intercept"])
        return {**fields, "values": values}

    return tf.data.TFRecordDataset(files).map(parsed, num_parallel_calls=tf.data.AUTOTUNE)


@contextlib.contextmanager
def damage_named(folder: Path, split: str) -> Iterator[None]:
    """Names the shard when TensorFlow meets a damaged one in the block; it says the place within the file only.

    Raises:
        UserError: A shard of the split is damaged.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        for path in shards.split_files(folder, split):
            for _ in shards.read_shard(path):
                pass
        raise UserError(f"a shard of split {split!r} was damaged when it was read; check the disk") from error


def training(
    folder: Path, experiment: config.Experiment, record_fields: tuple[schema.Field, ...], first_step: int = 0
) -> tf.data.Dataset:
    """Returns endless batches `{"image", "mask" | "label"}` of static shape.

    Args:
        folder: The data set's version folder.
        experiment: The config.
        record_fields: Of its records.
        first_step: Batches before this one are left out.
    """
    data, trainer = experiment.data, experiment.trainer
    dataset = records(folder, "train", record_fields).map(lambda r: _prepared(r, data), tf.data.AUTOTUNE)
    total = sum(path.stat().st_size for path in shards.split_files(folder, "train"))
    if 2 * total < CACHE_BYTES:  # float32 takes twice the room of int16
        dataset = dataset.cache()
    dataset = dataset.shuffle(1024, seed=trainer.seed, reshuffle_each_iteration=True).repeat()
    dataset = dataset.enumerate().skip(first_step * trainer.batch_size)

    def drawn(number: tf.Tensor, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        seed = tf.stack([trainer.seed, tf.cast(number, tf.int32)])
        return _training_example(example, seed, experiment)

    dataset = dataset.map(drawn, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(trainer.batch_size, drop_remainder=True).prefetch(2)


def _prepared(record: Mapping[str, tf.Tensor], data: config.Data) -> dict[str, tf.Tensor]:
    image = prepare.normalise(record["values"][None], data)
    spacing = record["spacing_mm"][None]
    image, place = prepare.resample(image, spacing, data)
    example = {"image": image[0]}
    if data.mask_labels:
        example["mask"] = prepare.resize(record["mask"][None], place.scaled, nearest=True)[0]
    if data.label:
        example["label"] = record["label"]
    return example


def _training_example(
    example: Mapping[str, tf.Tensor], seed: tf.Tensor, experiment: config.Experiment
) -> dict[str, tf.Tensor]:
    data = experiment.data
    cut, changed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    offset = tf.random.stateless_uniform([len(data.image_size)], cut)
    image = prepare.crop_or_pad(example["image"], data.image_size, offset, fill=prepare.padding_value(data))
    mask = prepare.crop_or_pad(example["mask"], data.image_size, offset) if "mask" in example else None
    image, mask = augment.augment(image, mask, changed, experiment.augment)
    targets = {name: example[name] for name in ("label",) if name in example}
    return {"image": image, **({} if mask is None else {"mask": mask}), **targets}
