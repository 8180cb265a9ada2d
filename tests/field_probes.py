"""What an experiment's settings change, made small: each probe gives something that can be told apart by its text."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import config, runs, tasks
from radkit.data import augment, clinical, contents, convert, pipeline, prepare
from radkit.data.splitting import dealing, patients_table
from radkit.errors import UserError
from radkit.inference import configured
from radkit.models import weights
from tests.data.augmentation import regions
from trainers import (
    averages,
    checkpoints,
    hooks,
    loop,
    optimizers,
    strategy,
    training,
    unlabelled,
    unlabelled_records,
)

_RANDOM = np.random.default_rng(0)
_SIZE = (4, 8, 8)
_IMAGE = _RANDOM.uniform(-900, 900, (12, 16, 16)).astype(np.float32)
_MASK = (np.arange(12 * 16 * 16).reshape(12, 16, 16, 1) // 700 % 3).astype(np.uint8)


def _text(values: Any) -> str:
    """Returns all digits of whatever holds arrays."""
    return repr(tf.nest.map_structure(lambda value: np.asarray(value).tolist(), values))


def augmented(experiment: config.Experiment) -> str:
    """Three examples, changed at random and then mixed."""
    data, settings = experiment.data, experiment.augment
    region = augment.region_size(_SIZE, np.array([[2.0, 1.0, 1.0]]), settings)
    wide = np.pad(_IMAGE, [(0, 40)] * 3)[tuple(map(slice, region))]
    mask = np.pad(_MASK, [(0, 40)] * 3 + [(0, 0)])[tuple(map(slice, region))]
    example = regions.region(wide, (2.0, 1.0, 1.0), mask=mask, deviation=np.float32(500))
    made = [augment.augment_example(example, tf.constant([7, seed]), _SIZE, settings, data) for seed in range(3)]
    if not (settings.mixup or settings.cutmix):
        return _text(made)
    batch = {"image": tf.stack([one["image"] for one in made]), "label": tf.constant([0, 1, 0])}
    return _text([augment.mix(batch, tf.constant([7, seed]), settings, data) for seed in range(3)])


def left_to_device(experiment: config.Experiment) -> str:
    """What of a batch's changes the step makes."""
    example = {**regions.region(_IMAGE[:4, :8, :8]), "number": tf.constant(3, tf.int64)}
    batch = {name: value[None] for name, value in example.items()}
    return str(sorted(pipeline.on_device(batch, experiment)))


def prepared(experiment: config.Experiment) -> str:
    """A whole image as the network sees it in use, and what it is cut to in training."""
    image, _ = prepare.prepare(tf.constant(_IMAGE[None, ..., None]), tf.constant([[2.0, 1.0, 1.0]]), experiment.data)
    return _text(image) + str(experiment.data.image_size)


def fields(experiment: config.Experiment) -> str:
    """The fields of the records."""
    return str(convert.fields_of(experiment.data))


def dealt(experiment: config.Experiment) -> str:
    """On which side forty patients with two images each are; why, where it is refused."""
    units, known = [], {}
    for number in range(80):
        patient, day = f"P{number // 2}", 1 + (7 * number) % 28
        header = {"Manufacturer": "AB"[number // 2 % 2], "ProtocolName": "XYZ"[number // 2 % 3]}
        header |= {"StudyDate": f"202401{day:02d}", "AcquisitionDate": f"202402{day:02d}"}
        header["Manufacturer"] *= number > 3
        units.append(contents.Unit(str(number), patient, (), label=number // 8 % 2))
        known[patient, str(number)] = patients_table.known(
            None, experiment.data, lambda word, of=header: of.get(word, "")
        )
    try:
        found = dealing.deal(units, experiment.data, known)
    except UserError as error:
        return f"refused: {error}"
    return str((sorted(found.split_of.items()), sorted(found.folds.items()), sorted(found.left_out.items())))


def tabled(experiment: config.Experiment) -> str:
    """What a network sees of a record's facts."""
    facts = {"age_years": 50.0, "slice_thickness_mm": 2.0, "sex": "F"}
    return _text(clinical.scaled(clinical.table(facts, experiment.data), experiment.data))


def headed(experiment: config.Experiment) -> str:
    """The number of outputs of the network, and the task's answer and loss of one."""
    task, data = tasks.of(experiment), experiment.data
    count, random = task.num_outputs(data), np.random.default_rng(2)
    if data.box_labels:
        return str(count)
    logits = tf.constant(random.normal(0, 1, (2, 8, 8, count) if data.mask_labels else (2, count)), tf.float32)
    truth = tf.constant([0.3, 0.9]) if data.label_kind == "regression" else tf.constant([0, 1])
    batch = {"label": truth, "mask": tf.constant(random.integers(0, 2, (2, 8, 8, 1)))}
    return str(count) + _text(task.loss(batch, logits))


def built(experiment: config.Experiment) -> str:
    """The network's inputs and weights."""
    network = runs.new_network(experiment, tasks.of(experiment))
    return str([one.name for one in network.inputs]) + str([weight.shape for weight in network.weights])


def _dense() -> keras.Model:
    inputs = keras.Input((4, 1))
    hidden = keras.layers.Dense(6, name="first", kernel_initializer=keras.initializers.GlorotUniform(1))
    x = keras.layers.BatchNormalization(name="norm")(hidden(keras.layers.Flatten()(inputs)))
    x = keras.layers.Dropout(0.3)(x)
    last = keras.layers.Dense(2, name="last", kernel_initializer=keras.initializers.GlorotUniform(2))
    return keras.Model(inputs, last(x))


def moved(experiment: config.Experiment) -> str:
    """Weights after five given gradients."""
    network, random = _dense(), np.random.default_rng(3)
    optimizer = optimizers.new(experiment, weights.shares(network, experiment.optimizer.rates))
    optimizer.build(network.trainable_variables)
    for _ in range(5):
        given = [tf.constant(random.normal(0, 1, w.shape), tf.float32) for w in network.trainable_variables]
        optimizer.apply(given, network.trainable_variables)
    return _text([weight.numpy() for weight in network.trainable_variables])


def stepped(experiment: config.Experiment) -> str:
    """All that two steps of the loop leave behind."""
    keras.utils.set_random_seed(0)
    trained, random = loop.new(_dense(), experiment), np.random.default_rng(4)
    losses = loop.losses_of(tasks.of(experiment))
    step = loop.train_step(tf.distribute.get_strategy(), trained, losses, experiment)
    size = experiment.trainer.batch_size
    for number in range(2):
        image = tf.constant(random.normal(0, 9, (size, 4, 1)), tf.float32)
        step({"image": image, "label": tf.range(size) % 2}, tf.constant(number, tf.int64))
    return _text({name: [one.numpy() for one in part] for name, part in trained.parts().items()})


def kept(experiment: config.Experiment) -> str:
    """The checkpoints that stay of ten, one each half hour."""
    saved = [checkpoints.Saved(step, step / 2, None) for step in range(10)]
    return str(checkpoints.kept(saved, experiment.trainer))


def policy(experiment: config.Experiment) -> str:
    """The precision that is set."""
    before = keras.mixed_precision.global_policy()
    try:
        return strategy.set_precision(experiment.trainer.precision)
    finally:
        keras.mixed_precision.set_global_policy(before)


def determined(experiment: config.Experiment) -> str:
    """Whether TensorFlow is told to compute the same each time."""
    from tensorflow.python.util import _pywrap_determinism

    _pywrap_determinism.enable(False)
    strategy.seed(experiment.trainer)
    return str(_pywrap_determinism.is_enabled())


def compiled(experiment: config.Experiment) -> str:
    """Whether XLA compiles the step."""
    trained = loop.new(_dense(), experiment)
    losses = loop.losses_of(tasks.of(experiment))
    step = loop.train_step(tf.distribute.get_strategy(), trained, losses, experiment)
    return str(step._jit_compile)


def timed(experiment: config.Experiment) -> str:
    """Whether a run keeps an eye on the time."""
    chosen = strategy.choose(experiment.trainer)
    return type(training._budget(experiment.trainer, hooks.Reached(), chosen, 0.0)).__name__


def devices(experiment: config.Experiment) -> str:
    """The strategy that is chosen."""
    return type(strategy.choose(experiment.trainer).strategy).__name__


def asked(experiment: config.Experiment) -> str:
    """An answer in windows and flips, and the sizes of what the network was shown."""
    shown = []

    def network(image: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training
        shown.append(tuple(image.shape))
        places = tf.range(image.shape[2], dtype=tf.float32)[:, None, None]
        return tf.concat([image * places, image], -1)

    answer = configured.network(network, experiment.inference)(tf.constant(_IMAGE[None, :8, :, :, None]), False)
    return _text(answer) + str(shown)


def cleaned(experiment: config.Experiment) -> str:
    """A mask of a ring and a dot, as it is answered."""
    mask = np.zeros((1, 3, 9, 9), np.uint8)
    mask[:, :, 1:6, 1:6], mask[:, 1, 3, 3], mask[:, 1, 7, 7] = 1, 0, 1
    return _text(configured.clean(tf.constant(mask), experiment.data.mask_labels, experiment.inference))


def taught(experiment: config.Experiment) -> str:
    """The losses of a batch with unlabelled examples at step 50."""
    if experiment.unlabelled.method == "none":
        return ""
    network = _dense()
    teacher, random = averages.Average(network, 0.9), np.random.default_rng(5)
    for one in network.trainable_variables:
        one.assign_add(random.normal(0, 0.5, one.shape))
    batch = {
        "image": random.normal(0, 1, (2, 4, 1)).astype(np.float32),
        "label": np.array([0, 1]),
        "unlabelled_image": random.normal(0, 2, (8, 4, 1)).astype(np.float32),
        "unlabelled_draw": np.arange(8),
    }
    keras.utils.set_random_seed(0)
    losses = unlabelled.losses(experiment, tasks.of(experiment), teacher)
    given = {name: tf.constant(value) for name, value in batch.items()}
    next(one for one in network.layers if isinstance(one, keras.layers.Dropout)).rate = 0.0
    return _text(losses(network, given, tf.constant(50, tf.int64)))


def fed_beside(experiment: config.Experiment) -> str:
    """How unlabelled records are fed, and how slow their teacher is."""
    fed = unlabelled_records._without_labels(experiment).trainer
    return f"{fed.batch_size} {unlabelled.decay(experiment)}"
