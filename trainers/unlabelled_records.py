"""Records without labels as they are fed beside labelled ones: what a batch holds of them has names with `PREFIX`.

found = unlabelled_records.opened(folder, experiment, without=patients)
dataset = unlabelled_records.beside(labelled, found, first_step)
"""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from radkit import config, outputs
from radkit.data import convert, pipeline, shards, splits
from radkit.data.feeding import examples
from radkit.errors import UserError
from radkit.tasks.task import Tensors

PREFIX = "unlabelled_"
DRAW = "draw"  # number of an example over all hosts and steps, by which its noise is drawn
_SEED = 0x5EED  # keeps their draws apart from those of the labelled records
# Fields of the data section that are about labels; `dataset` is a name and may differ, too.
_OF_LABELS = (
    "mask_labels", "box_labels", "ignored_boxes", "label", "class_names", "label_kind", "label_unit", "event", "report",
    "annotations",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Records without labels, ready to be trained on.

    Attributes:
        folder: The data set's version folder.
        experiment: How they are fed: the run's, without labels.
        images: This host's examples, by number.
        patients: Pseudonyms of all that are learned of, sorted.
        share: Which part is this host's.
    """

    folder: Path
    experiment: config.Experiment
    images: examples.Examples
    patients: tuple[str, ...]
    share: examples.Share


def opened(
    folder: Path,
    experiment: config.Experiment,
    *,
    without: Collection[str] = (),
    host: int = 0,
    num_hosts: int = 1,
) -> Found:
    """Returns the training split of a data set whose labels, if it has any, are not looked at.

    Args:
        folder: The data set's version folder.
        experiment: The run's config.
        without: Pseudonyms of patients who are left out: those the run is validated and tested on.
        host: From 0 on.
        num_hosts: Of how many.

    Raises:
        UserError: The records are of another kind or grid than the config's, or none is left.
    """
    fed = _without_labels(experiment)
    _check(folder, experiment.data)
    known = splits.patients(folder, "train", fed.trainer)
    patients = tuple(sorted(set(known) - set(without)))
    if not known:
        raise UserError(
            f"--unlabelled {folder} has no patient in its training split, the one that is learned of; convert it with "
            "data.splits=(1,0,0), or name other records"
        )
    if not patients:
        raise UserError(
            f"--unlabelled {folder} has {len(known)} patients in its training split, and all of them are validated or "
            "tested on; name records of other patients"
        )
    record_fields = convert.fields_of(fed.data, shards.schema_of(folder))
    left_out = set(known) - set(patients)
    of_host = pipeline.opened(folder, fed, record_fields, host=host, num_hosts=num_hosts, without=left_out)
    return Found(folder, fed, of_host, patients, examples.Share(host, num_hosts))


def _without_labels(experiment: config.Experiment) -> config.Experiment:
    """Returns how the config's images are fed where nobody said what is there."""
    unsaid, trainer = config.Data(""), experiment.trainer
    data = dataclasses.replace(experiment.data, **{name: getattr(unsaid, name) for name in _OF_LABELS})
    # Its own draws: else the first unlabelled example would be moved as the first labelled one is.
    seed = (trainer.seed + _SEED) % 2**31
    shuffled = dataclasses.replace(trainer, seed=seed, sampling=config.Sampling(), repeat=0, fold=-1, test_fold=-1)
    return dataclasses.replace(
        experiment,
        data=data,
        augment=dataclasses.replace(experiment.augment, swap_labels=(), mixup=0.0, cutmix=0.0),
        trainer=dataclasses.replace(shuffled, batch_size=experiment.unlabelled.batch_size),
    )


def _check(folder: Path, data: config.Data) -> None:
    """Refuses records on another grid or of another kind than the labelled ones; their labels may be any."""
    path = folder / "data.json"
    written = config.data_from_json(outputs.read_json(path)) if path.is_file() else data
    pipeline.check(
        folder, dataclasses.replace(data, **{name: getattr(written, name) for name in (*_OF_LABELS, "dataset")})
    )


def beside(labelled: tf.data.Dataset, found: Found, first_step: int = 0) -> tf.data.Dataset:
    """Returns batches of both: what `labelled` holds, and the unlabelled images under names with `PREFIX`.

    Args:
        labelled: From `pipeline.training`, beginning with `first_step`.
        found: From `opened`.
        first_step: Begins with this step's batch.
    """
    fed, share = found.experiment, found.share
    record_fields = convert.fields_of(fed.data, shards.schema_of(found.folder))
    images = pipeline.training(
        found.folder, fed, record_fields, first_step, host=share.host, num_hosts=share.num_hosts, found=found.images
    )
    of_all, of_host = fed.trainer.batch_size, share.of_batch(fed.trainer.batch_size)

    def joined(batch: Tensors, image: Tensors, step: tf.Tensor) -> dict[str, tf.Tensor]:
        draws = step * of_all + share.host * of_host + tf.range(of_host, dtype=tf.int64)
        return {**batch, **{PREFIX + name: value for name, value in {**image, DRAW: draws}.items()}}

    steps = tf.data.Dataset.range(first_step, 2**62)
    return tf.data.Dataset.zip(labelled, images, steps).map(joined).with_options(labelled.options())


def on_device(batch: Tensors, experiment: config.Experiment) -> dict[str, tf.Tensor]:
    """Returns a batch of both with the changes that `augment.where="device"` leaves to the accelerator."""
    labelled, images = parted(batch)
    made = pipeline.on_device(images, _without_labels(experiment))
    return {**pipeline.on_device(labelled, experiment), **{PREFIX + name: value for name, value in made.items()}}


def parted(batch: Tensors) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Returns what a batch holds of labelled and of unlabelled records, each by its own names."""
    labelled = {name: value for name, value in batch.items() if not name.startswith(PREFIX)}
    return labelled, {name.removeprefix(PREFIX): value for name, value in batch.items() if name not in labelled}
