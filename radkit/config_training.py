"""What the values of an experiment's optimizer, trainer and unlabelled sections must be beyond their types.

A setting that another one makes meaningless is refused, too: who sets it expects something of it.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from radkit.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from radkit.config import Data, Experiment, Optimizer, Sampling, Split, Trainer, Unlabelled

_LEAST = (
    ("optimizer", ("learning_rate", "weight_decay", "warmup_steps", "clip_norm"), 0),
    ("trainer", ("steps", "batch_size", "accumulate", "steps_per_execution", "bad_steps", "evaluate_every"), 1),
    ("trainer", ("keep_last", "most_boxes"), 1),
    ("trainer", ("early_stopping", "keep_every_hours", "minutes", "cache_gib"), 0),
    ("unlabelled", ("batch_size",), 1),
    ("unlabelled", ("weight", "ramp_steps", "noise"), 0),
)
_MOST = 2**31 - 1  # what TensorFlow counts in 64 bits and computes in float32 is far from its ends
_METHODS = ("mean_teacher", "pseudo_labels")
# Fields that are read where another field of their section has one of these values, and nowhere else.
_ONLY_OF: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("optimizer", ("power",), "schedule", ("poly",)),
    ("optimizer", ("betas",), "name", ("adamw", "lamb")),
    ("optimizer", ("momentum",), "name", ("sgd",)),
    ("unlabelled", ("batch_size", "weight", "ramp_steps", "average", "noise"), "method", _METHODS),
    ("unlabelled", ("threshold",), "method", ("pseudo_labels",)),
)
_OF_UNLABELLED = ("classification", "segmentation")  # tasks that learn of records without labels


def check(experiment: "Experiment") -> None:
    """Refuses values that are of the right type and make no sense.

    Raises:
        UserError: It names the field, what was found and what was expected.
    """
    for section, names, least in _LEAST:
        for name in names:
            value = getattr(getattr(experiment, section), name)
            if value < least:
                raise UserError(f"{section}.{name} must be at least {least}, not {value}")
            if value > _MOST:
                raise UserError(f"{section}.{name} must be at most {_MOST}, not {value}")
    for section, fields, other, values in _ONLY_OF:
        _check_only_of(section, getattr(experiment, section), fields, other, values)
    _check_optimizer(experiment.optimizer)
    _check_rates(experiment)
    _check_trainer(experiment.trainer)
    _check_fold(experiment.data.split, experiment.trainer)
    _check_sampling(experiment.trainer.sampling, experiment.data)
    _check_unlabelled(experiment)


def _check_only_of(section: str, found: Any, names: tuple[str, ...], other: str, values: tuple[str, ...]) -> None:
    """Refuses fields with another value than their default where nothing would read them."""
    if getattr(found, other) in values:
        return
    defaults = {field.name: field.default for field in dataclasses.fields(found)}
    for name in names:
        if getattr(found, name) != defaults[name]:
            raise UserError(
                f"{section}.{name}={getattr(found, name)!r} is of {section}.{other}={' or '.join(map(repr, values))}, "
                f"and that is {getattr(found, other)!r}; change {other}, or leave {name} at {defaults[name]!r}"
            )


def _check_optimizer(optimizer: "Optimizer") -> None:
    """Refuses shares that would keep all, and what no schedule falls by."""
    for name, share in (("momentum", optimizer.momentum), ("average", optimizer.average)):
        if not 0 <= share < 1:
            raise UserError(f"optimizer.{name} must be a share from 0 to below 1, not {share}")
    if not all(0 <= beta < 1 for beta in optimizer.betas):
        raise UserError(f"optimizer.betas must be two shares from 0 to below 1, not {optimizer.betas}")
    if optimizer.learning_rate == 0:
        raise UserError(
            "optimizer.learning_rate must be above 0, not 0.0: nothing would be learned; layers that do not learn at "
            "all go into model.freeze"
        )
    if optimizer.power <= 0:
        raise UserError(f"optimizer.power must be above 0, not {optimizer.power}")


def _check_trainer(trainer: "Trainer") -> None:
    """Refuses steps that do not divide, and no way to choose the best weights."""
    if trainer.batch_size % trainer.accumulate:
        raise UserError(
            f"trainer.accumulate={trainer.accumulate} must divide trainer.batch_size, which is {trainer.batch_size}: "
            "the parts of a batch are of one size"
        )
    if trainer.evaluate_every % trainer.steps_per_execution:
        raise UserError(
            f"trainer.steps_per_execution={trainer.steps_per_execution} must divide trainer.evaluate_every, which is "
            f"{trainer.evaluate_every}: weights are scored after a step that the host hears of"
        )
    if not trainer.select.strip():
        raise UserError("trainer.select must be 'score' or the name of one of the validation's figures; it is empty")


def _check_unlabelled(experiment: "Experiment") -> None:
    """Refuses a teacher that never learns or of a task that has none."""
    settings: Unlabelled = experiment.unlabelled
    if not 0 < settings.average < 1:
        raise UserError(f"unlabelled.average must be a share above 0 and below 1, not {settings.average}")
    if not 0 <= settings.threshold <= 1:
        raise UserError(f"unlabelled.threshold must be a share from 0 to 1, not {settings.threshold}")
    if settings.method == "none":
        return
    if experiment.task.name not in _OF_UNLABELLED:
        raise UserError(
            f"unlabelled.method={settings.method!r} is of the tasks {' and '.join(_OF_UNLABELLED)}; "
            f"{experiment.task.name} learns of labelled records only: set it to 'none'"
        )
    if experiment.optimizer.average:
        raise UserError(
            f"optimizer.average={experiment.optimizer.average} and unlabelled.method={settings.method!r} both ask for "
            "a moving average of the weights; the teacher is one, and it is what is scored: say unlabelled.average, "
            "and set optimizer.average to 0"
        )
    parts = experiment.trainer.accumulate
    if settings.batch_size % parts:
        raise UserError(
            f"trainer.accumulate={parts} must divide unlabelled.batch_size, too, which is {settings.batch_size}"
        )


def _check_fold(split: "Split", trainer: "Trainer") -> None:
    """Refuses a fold that the config does not deal."""
    if not (trainer.repeat or trainer.fold + 1 or trainer.test_fold + 1):
        return
    if not split.folds:
        raise UserError("trainer.repeat, fold and test_fold choose among data.split.folds, which is 0: there are none")
    for name, least, count in (("repeat", 0, split.repeats), ("fold", 0, split.folds), ("test_fold", -1, split.folds)):
        value = getattr(trainer, name)
        if not least <= value < count:
            raise UserError(f"trainer.{name} must be from {least} to {count - 1}, as data.split deals, not {value}")
    if trainer.fold == trainer.test_fold:
        raise UserError(f"trainer.test_fold must be another fold than trainer.fold, not {trainer.test_fold}")
    if split.folds == 2 and trainer.test_fold >= 0:
        raise UserError(
            "trainer.test_fold needs 3 or more data.split.folds: one to test, one to validate, one to train"
        )


def _check_sampling(sampling: "Sampling", data: "Data") -> None:
    """Refuses what the data cannot be sampled by."""
    found = bool(data.mask_labels or data.box_labels)
    if not 0 <= sampling.foreground <= 1:
        raise UserError(f"trainer.sampling.foreground must be a share from 0 to 1, not {sampling.foreground}")
    for name, asked in (("foreground", sampling.foreground > 0), ("records='lesions'", sampling.records == "lesions")):
        if asked and not found:
            raise UserError(f"trainer.sampling.{name} needs data.mask_labels or data.box_labels: there is no lesion")
    if sampling.by_lesion and not sampling.foreground:
        raise UserError(
            "trainer.sampling.by_lesion is of the patches that trainer.sampling.foreground asks for; set it"
        )
    has_classes = found if not data.label else data.label_kind != "regression"
    if sampling.records in ("class_balanced", "weighted") and not has_classes:
        raise UserError(f"trainer.sampling.records={sampling.records!r} needs classes: of labels, boxes or masks")
    if sampling.class_weights == "balanced" and (not data.label or data.label_kind not in ("class", "ordinal")):
        raise UserError("trainer.sampling.class_weights='balanced' needs data.label of the kind class or ordinal")
    _check_weights(sampling, data)


def _check_weights(sampling: "Sampling", data: "Data") -> None:
    if bool(sampling.weights) != (sampling.records == "weighted"):
        raise UserError(
            "trainer.sampling.weights go with trainer.sampling.records='weighted', which needs some; found records="
            f"{sampling.records!r} and weights {sampling.weights}"
        )
    events = ("censored", "event") if data.label_kind == "survival" else data.class_names
    names = events if data.label else data.box_labels or data.mask_labels
    for name, weight in sampling.weights.items():
        if name not in names:
            raise UserError(
                f"trainer.sampling.weights: {name!r} is none of {', '.join(names)}{did_you_mean(name, names)}"
            )
        if not _is_number(weight) or weight < 0:
            raise UserError(f"trainer.sampling.weights[{name!r}] must be a number from 0 on, not {weight!r}")


def _check_rates(experiment: "Experiment") -> None:
    """Refuses patterns and rates that mean nothing."""
    for name, patterns in (("model.freeze", experiment.model.freeze), ("optimizer.rates", experiment.optimizer.rates)):
        if any(not pattern.strip() for pattern in patterns):
            raise UserError(f"{name} must have patterns of layers' names, as 'conv1*'; one of them is empty")
    for pattern, share in experiment.optimizer.rates.items():
        if not _is_number(share) or share <= 0:
            raise UserError(
                f"optimizer.rates: {pattern!r} must have a share of the learning rate above 0, not {share!r}; "
                "layers that do not learn at all go into model.freeze"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
