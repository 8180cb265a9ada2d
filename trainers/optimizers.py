"""The optimizer that a config asks for: a rule, a learning rate over the steps, each layer's share of it."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from radkit import config
from trainers import rules


def new(experiment: config.Experiment, shares: Sequence[float] = (), total: tf.Variable | None = None) -> "Optimizer":
    """Returns the optimizer of `experiment.optimizer`; it still has to be built, in the strategy's scope.

    Args:
        experiment: Its optimizer's and trainer's settings.
        shares: Of the learning rate, one a trainable weight; empty: all of it for each.
        total: () int64, the number of steps at which the schedule ends, read at each step; None: `trainer.steps`.
    """
    settings = experiment.optimizer
    rule = {
        "adamw": lambda: rules.adamw(settings.betas),
        "sgd": lambda: rules.sgd(settings.momentum),
        "lamb": lambda: rules.lamb(settings.betas),
    }[settings.name]()
    return Optimizer(rule, Schedule(settings, experiment.trainer.steps, total), settings.weight_decay, shares)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to the learning rate in `warmup_steps`, then what `optimizer.schedule` says.

    "cosine" and "poly" are zero at the last step, and stay zero beyond it. The rise ends before the last step, however
    few there are.

    Args:
        settings: The config's optimizer section.
        steps: At which the schedule ends.
        total: () int64 variable that tells it instead; it may change while training runs.

    Source: cosine, Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5, without restarts; poly, Chen et
    al. 2018, https://arxiv.org/abs/1606.00915, section 4.1.
    """

    def __init__(self, settings: config.Optimizer, steps: int, total: tf.Variable | None = None) -> None:
        self._settings, self._steps, self._total = settings, steps, total

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the learning rate, () float32, of the step that is taken after `step` others."""
        done = tf.cast(step, tf.float32)
        end = tf.cast(self._steps if self._total is None else self._total, tf.float32)
        warmup = tf.maximum(tf.minimum(float(self._settings.warmup_steps), end - 1.0), 0.0)
        risen = tf.minimum(1.0, done / tf.maximum(warmup, 1.0)) if self._settings.warmup_steps else 1.0
        risen = tf.where(warmup > 0, risen, 1.0)
        share = tf.clip_by_value((done - warmup) / tf.maximum(end - warmup, 1.0), 0.0, 1.0)
        return self._settings.learning_rate * risen * self._left(share)

    def _left(self, share: tf.Tensor) -> tf.Tensor:
        """Returns what is left of the learning rate when a share of the steps after the rise is taken."""
        if self._settings.schedule == "cosine":
            return 0.5 * (1.0 + tf.cos(tf.constant(3.141592653589793) * share))
        if self._settings.schedule == "poly":
            return tf.pow(1.0 - share, self._settings.power)
        return tf.ones_like(share)


class Optimizer(keras.optimizers.Optimizer):
    """Moves all weights by one rule, each by its own share of the learning rate.

    It takes gradients that were already summed over the replicas; Keras's own optimizers would sum them again. Shares
    cannot be put into the gradients instead: Adam divides by their size.

    Args:
        rule: How one weight is moved.
        learning_rate: A number or a schedule.
        weight_decay: Share of each weight that is taken away at each step, times the weight's learning rate.
        shares: One a weight, in the order of the variables it is built with; empty: 1 each.
    """

    def __init__(
        self, rule: rules.Rule, learning_rate: Any, weight_decay: float = 0.0, shares: Sequence[float] = ()
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay)
        self._rule = rule
        self._share = tuple(shares).__getitem__ if any(share != 1 for share in shares) else None

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes what the rule keeps of each weight."""
        if self.built:
            return
        super().build(variables)
        self._slots = [self.add_optimizer_variables(variables, name) for name in self._rule.slots]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        return list(grads_and_vars)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leaves it to the rule, which knows the weight's own rate."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """Moves all weights; what is the same for all of them is computed once, on each replica."""
        step = tf.cast(self.iterations.value + 1, tf.float32)
        alike = {"rate": tf.cast(learning_rate, tf.float32), **self._rule.numbers(step)}
        super()._backend_update_step(grads, trainable_variables, alike)

    def update_step(self, gradient: Any, variable: Any, learning_rate: dict[str, Any]) -> None:
        """Moves one weight.

        Args:
            gradient: Of the weight.
            variable: The weight.
            learning_rate: `rate`, and whatever else is the same for all weights.
        """
        index = self._get_variable_index(variable)
        numbers = dict(learning_rate)
        rate = numbers.pop("rate")
        if self._share is not None:
            rate *= self._share(index)
        decay = self.weight_decay if self.weight_decay and self._use_weight_decay(variable) else 0.0
        slots = [slot[index].value for slot in self._slots]
        self._rule.move(variable, slots, tf.cast(gradient, variable.dtype), rate, decay, numbers)
