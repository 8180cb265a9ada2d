"""Shards to batches: a deterministic function of the config, its seed and the step.

Training draws examples by their number (`radkit.data.feeding`): which record, which part of it, which changes are
functions of the seed and the number, so a stopped run goes on at any step without going through those before it.
Scoring reads records one after the other, as they were written.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, outputs
from radkit.data import augment, prepare, schema, shards, splits
from radkit.data.feeding import examples, images, mapped, places
from radkit.errors import UserError

_NUMBERS = 2**62  # examples: endless
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
    shards.schema_of(folder)
    written = outputs.read_json(folder / "data.json")
    wanted, unsaid = (config.data_to_json(section) for section in (data, config.Data("")))
    for name in _OF_RECORDS:
        found = written.get(name, unsaid[name])
        if found != wanted[name]:
            raise UserError(
                f"the records in {folder} were converted with data.{name}={found!r}, the config says "
                f"{wanted[name]!r}; convert again or use the config they were converted with"
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


def records(
    folder: Path,
    split: str | Sequence[str],
    record_fields: tuple[schema.Field, ...],
    patients: Collection[str] | None = None,
) -> tf.data.Dataset:
    """Returns parsed records in the order they were written, each with its modality values as `values`.

    Args:
        folder: The data set's version folder.
        split: On the disk; several are read one after the other.
        record_fields: Of its records.
        patients: Only theirs; None: all.

    Raises:
        UserError: There is no record.
    """
    wanted = (split,) if isinstance(split, str) else tuple(split)
    files = [str(path) for one in wanted for path in shards.split_files(folder, one)]
    if not sum(shards.num_records(folder, one) for one in wanted):
        said = " and ".join(repr(one) for one in wanted)
        raise UserError(f"split {said} of {folder} holds no records; convert more patients or change data.splits")
    dataset = tf.data.TFRecordDataset(files)
    if patients is not None:
        places.find(folder, wanted, record_fields, (), patients)  # refuses when none is left
        whose = tuple(field for field in record_fields if field.name == "patient_id")
        known = tf.constant(sorted(patients))
        dataset = dataset.filter(lambda record: tf.reduce_any(parse(record, whose)["patient_id"] == known))
    return dataset.map(lambda record: _with_values(record, record_fields), num_parallel_calls=tf.data.AUTOTUNE)


def _with_values(record: tf.Tensor, record_fields: tuple[schema.Field, ...]) -> dict[str, tf.Tensor]:
    fields = parse(record, record_fields)
    values = prepare.modality_values(fields["image"], fields["rescale_slope"], fields["rescale_intercept"])
    return {**fields, "values": values}


def evaluation(
    folder: Path,
    split: str | Sequence[str],
    record_fields: tuple[schema.Field, ...],
    patients: Collection[str] | None = None,
    *,
    host: int = 0,
    num_hosts: int = 1,
) -> tf.data.Dataset:
    """Returns this host's part of what `records` gives: over all hosts each record once.

    All hosts take the same number of steps. `weight` is 1; where a host has no record left it is 0 and the record is
    one of another's, which must not be counted.

    Args:
        folder: The data set's version folder.
        split: On the disk; several are read one after the other.
        record_fields: Of its records.
        patients: Only theirs; None: all.
        host: From 0 on.
        num_hosts: Of how many.

    Raises:
        UserError: There is no record, or no such host.
    """
    examples.Share(host, num_hosts).of_batch(num_hosts)
    wanted = (split,) if isinstance(split, str) else tuple(split)
    found = places.find(folder, wanted, record_fields, (), patients)
    files = mapped.Shards()

    def read(number: np.ndarray) -> bytes:
        return files.record(found[min(int(number), len(found) - 1)])

    def parsed(number: tf.Tensor) -> dict[str, tf.Tensor]:
        record = tf.ensure_shape(tf.numpy_function(read, [number], tf.string, stateful=False), [])
        return {**_with_values(record, record_fields), "weight": tf.cast(number < len(found), tf.float32)}

    numbers = tf.data.Dataset.range(host, -(-len(found) // num_hosts) * num_hosts, num_hosts)
    return _options(numbers.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1))


@contextlib.contextmanager
def damage_named(folder: Path, split: str | Sequence[str]) -> Iterator[None]:
    """Names the shard when a damaged one is met in the block; TensorFlow says the place within the file only.

    Raises:
        UserError: A shard of the split is damaged.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        wanted = (split,) if isinstance(split, str) else tuple(split)
        for path in (path for one in wanted for path in shards.split_files(folder, one)):
            for _ in shards.read_shard(path):
                pass
        said = " and ".join(repr(one) for one in wanted)
        raise UserError(f"a shard of split {said} was damaged when it was read; check the disk") from error
    except tf.errors.OpError as error:  # TensorFlow passes on what is raised within a data set as a text
        told = re.search(r"\bUserError: (.+)", error.message)
        if told is None:
            raise
        raise UserError(told[1]) from error


def opened(
    folder: Path,
    experiment: config.Experiment,
    record_fields: tuple[schema.Field, ...],
    *,
    host: int = 0,
    num_hosts: int = 1,
    without: Collection[str] = (),
) -> examples.Examples:
    """Returns a data set's training examples by number: those of the config's fold, this host's share of them.

    Args:
        folder: The data set's version folder.
        experiment: The config.
        record_fields: Of its records.
        host: From 0 on.
        num_hosts: Of how many.
        without: Pseudonyms of patients who are left out.

    Raises:
        UserError: There are none, or the config asks for what they do not have.
    """
    data, trainer = experiment.data, experiment.trainer
    where, patients = splits.physical("train", trainer), splits.chosen(folder, "train", trainer)
    if without:
        patients = frozenset(splits.patients(folder, "train", trainer)) - frozenset(without)
    found = places.find(folder, where, record_fields, (*examples.WANTED, *data.table), patients)
    preparing = images.Preparing(
        lambda image, spacing: _resampled(image, spacing, data), lambda mask, sizes: _resized(mask, sizes)
    )
    return examples.Examples(
        found,
        experiment,
        preparing,
        lambda spacings: augment.region_size(data.image_size, spacings, experiment.augment),
        examples.Share(host, num_hosts),
    )


def _resampled(image: np.ndarray, spacing_mm: np.ndarray, data: config.Data) -> np.ndarray:
    with tf.device("CPU:0"):
        return np.asarray(prepare.resample(tf.constant(image[None]), tf.constant(spacing_mm)[None], data)[0][0])


def _resized(mask: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    with tf.device("CPU:0"):
        return np.asarray(prepare.resize(tf.constant(mask)[None], tf.constant(sizes), nearest=True)[0])


def training(
    folder: Path,
    experiment: config.Experiment,
    record_fields: tuple[schema.Field, ...],
    first_step: int = 0,
    *,
    host: int = 0,
    num_hosts: int = 1,
    found: examples.Examples | None = None,
) -> tf.data.Dataset:
    """Returns endless batches of static shapes, the network's input and what it is held against.

    `image`, and what the config has of `table`, `mask`, `label`, `event`, `boxes` and `box_labels` (-1: none), `weight`
    (of each example in the loss). Where `augment.where` is "device" they still have to go through `on_device`.

    Args:
        folder: The data set's version folder.
        experiment: The config.
        record_fields: Of its records.
        first_step: Begins with this step's batch, at once.
        host: From 0 on; its batches are its share of `trainer.batch_size`.
        num_hosts: Of how many.
        found: From `opened`, of the same arguments, if it was called before.

    Raises:
        UserError: As `opened`.
    """
    if found is None:
        found = opened(folder, experiment, record_fields, host=host, num_hosts=num_hosts)
    a_step = examples.Share(host, num_hosts).of_batch(experiment.trainer.batch_size)
    fetch, change = _fetch(found), _changes(experiment, found)

    def drawn(number: tf.Tensor) -> dict[str, tf.Tensor]:
        return change(fetch(number))

    dataset = tf.data.Dataset.range(first_step * a_step, _NUMBERS).map(drawn, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(a_step, drop_remainder=True)
    if experiment.augment.where == "host":
        dataset = dataset.map(lambda batch: _mixed(batch, experiment))
    return _options(dataset.prefetch(tf.data.AUTOTUNE))


def _options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Hosts have their shares already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


def _fetch(found: examples.Examples) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    first = found.example(0)

    def arrays(number: np.ndarray) -> list[np.ndarray]:
        example = found.example(int(number))
        return [example[name] for name in first]

    def fetch(number: tf.Tensor) -> dict[str, tf.Tensor]:
        kinds = [tf.as_dtype(value.dtype) for value in first.values()]
        # Stateless: it gives the same each time. Said otherwise, TensorFlow in its deterministic mode would run one
        # at a time.
        values = tf.numpy_function(arrays, [number], kinds, stateful=False)
        return {name: tf.ensure_shape(value, first[name].shape) for name, value in zip(first, values)}

    return fetch


_MAPPING = ("slope", "intercept", "centre", "deviation")


def _changes(
    experiment: config.Experiment, found: examples.Examples
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Returns what becomes of an example before it is batched."""
    if experiment.augment.where == "device":
        dropped = () if found.is_stored else _MAPPING  # by which `on_device` knows which of the two it is
        return lambda example: {name: value for name, value in example.items() if name not in dropped}

    def change(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        seed, data = _seed(example["number"], experiment), experiment.data
        return augment.augment_example(
            example, seed, data.image_size, experiment.augment, data, normalised=not found.is_stored
        )

    return tf.function(change, jit_compile=True, autograph=False)


def _seed(number: tf.Tensor, experiment: config.Experiment) -> tf.Tensor:
    numbers = tf.cast(number % 2**31, tf.int32)
    return tf.stack([tf.broadcast_to(experiment.trainer.seed, tf.shape(numbers)), numbers], axis=-1)


def _mixed(batch: dict[str, tf.Tensor], experiment: config.Experiment) -> dict[str, tf.Tensor]:
    first = batch["number"][0]
    rest = {name: value for name, value in batch.items() if name != "number"}
    if not (experiment.augment.mixup or experiment.augment.cutmix):
        return rest
    return augment.mix(rest, _seed(first, experiment), experiment.augment, experiment.data)


def on_device(batch: Mapping[str, tf.Tensor], experiment: config.Experiment) -> dict[str, tf.Tensor]:
    """Returns a batch of `training` with the changes that `augment.where="device"` leaves to the accelerator.

    It may be traced into the training step, on each replica's part of the batch; elsewhere it changes nothing.
    """
    given = dict(batch)
    if experiment.augment.where != "device":
        return given
    is_stored = "slope" in given
    if not is_stored:
        shape = given["image"].shape
        ones = tf.ones([shape[0], shape[1] if shape.rank == 5 else 1])
        given.update(zip(_MAPPING, (ones, 0.0 * ones, tf.zeros([shape[0], 2]), tf.ones(shape[0]))))
    seeds, data = _seed(given["number"], experiment), experiment.data
    made = augment.augment_batch(given, seeds, data.image_size, experiment.augment, data, normalised=not is_stored)
    return _mixed(made, experiment)
