"""By which rule an optimizer moves one weight: AdamW, SGD, LAMB, in one or few operations.

Keras writes Adam with some fifteen operations a weight. Of DenseNet-121, which has 364 weights, the optimizer alone
took more than half of the time in which a step is traced.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Numbers = Mapping[str, tf.Tensor]
_EPSILON = 1e-7  # Keras's


@dataclass(frozen=True)
class Rule:
    """How one weight is moved.

    Attributes:
        slots: Names of what is kept of each weight, in its shape, zeros at first.
        numbers: (the step's number from 1 on, float32) -> what is the same for all weights, computed once.
        move: (variable, slots, gradient, rate, decay, numbers) -> nothing: writes variable and slots. `rate` is the
            weight's own learning rate, `decay` the share of the weight, times the rate, that is taken away.
    """

    slots: tuple[str, ...]
    numbers: Callable[[tf.Tensor], Numbers]
    move: Callable[[tf.Variable, Sequence[tf.Variable], tf.Tensor, tf.Tensor, float, Numbers], None]


def adamw(betas: tuple[float, float] = (0.9, 0.999)) -> Rule:
    """Returns Adam with a decay that does not go through the moments.

    Source: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2.
    """

    def move(variable: Any, slots: Any, gradient: Any, rate: Any, decay: float, numbers: Numbers) -> None:
        _decay(variable, rate, decay)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=slots[0].handle, v=slots[1].handle, lr=rate, epsilon=tf.constant(_EPSILON),
            grad=gradient, **numbers,
        )  # fmt: skip

    return Rule(("momentum", "velocity"), lambda step: _powers(betas, step), move)


def sgd(momentum: float = 0.9) -> Rule:
    """Returns gradient descent with Nesterov's momentum, as Keras counts it, and a decay beside it.

    Source: Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html, eq. 3-4; the decay is SGDW's,
    https://arxiv.org/abs/1711.05101, algorithm 1.
    """

    def move(variable: Any, slots: Any, gradient: Any, rate: Any, decay: float, numbers: Numbers) -> None:
        del numbers
        _decay(variable, rate, decay)
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=slots[0].handle, lr=rate, grad=gradient, momentum=tf.constant(momentum),
            use_nesterov=True,
        )  # fmt: skip

    return Rule(("momentum",), lambda step: {}, move)


def lamb(betas: tuple[float, float] = (0.9, 0.999)) -> Rule:
    """Returns Adam whose step, decay included, is made as long as the weight times the learning rate: large batches.

    A weight that is all zero, or does not move, has no length to go by: its step is Adam's.

    Source: You et al. 2020, https://arxiv.org/abs/1904.00962, algorithm 2.
    """

    def move(variable: Any, slots: Any, gradient: Any, rate: Any, decay: float, numbers: Numbers) -> None:
        first, second = slots
        mean = first.assign_add((gradient - first) * numbers["share1"], read_value=True)
        square = second.assign_add((tf.square(gradient) - second) * numbers["share2"], read_value=True)
        change = mean * numbers["correction1"] / (tf.sqrt(square * numbers["correction2"]) + _EPSILON)
        weight = variable.read_value()
        if decay:
            change += decay * weight
        size, length = tf.nn.l2_loss(weight), tf.nn.l2_loss(change)  # half of the squared lengths
        trust = tf.where((size > 0) & (length > 0), tf.sqrt(tf.math.divide_no_nan(size, length)), 1.0)
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate * trust, delta=change)

    def numbers(step: tf.Tensor) -> Numbers:
        powers = _powers(betas, step)
        shares = {f"share{place}": 1.0 - powers[f"beta{place}"] for place in (1, 2)}
        return shares | {f"correction{place}": 1.0 / (1.0 - powers[f"beta{place}_power"]) for place in (1, 2)}

    return Rule(("momentum", "velocity"), numbers, move)


def _powers(betas: tuple[float, float], step: tf.Tensor) -> dict[str, tf.Tensor]:
    beta_1, beta_2 = (tf.constant(beta, tf.float32) for beta in betas)
    return {
        "beta1": beta_1, "beta2": beta_2, "beta1_power": tf.pow(beta_1, step), "beta2_power": tf.pow(beta_2, step),
    }  # fmt: skip


def _decay(variable: Any, rate: Any, decay: float) -> None:
    if decay:
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate * decay, delta=variable.read_value())
