"""Changes of variables from within one replica's part of a step, alike on all replicas.

Some strategies let no replica write a mirrored variable alone, nor decide alone whether to: all meet first. Others
(one device, TPU) have nothing to meet for. These two functions are right on both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def everywhere(change: Callable[..., Any], variables: Sequence[tf.Variable], *values: Sequence[tf.Tensor]) -> None:
    """Calls a function with each variable and its values, on each replica's own copy.

    Args:
        change: (variable, *its values): changes it.
        variables: TensorFlow's, not Keras's.
        *values: One a variable each; the same on all replicas.
    """

    def update(strategy: tf.distribute.Strategy, *lists: Sequence[Any]) -> None:
        for variable, *given in zip(variables, *lists, strict=True):
            strategy.extended.update(variable, change, args=tuple(given), group=False)

    # What Keras's own optimizers call: replicas meet where the strategy wants it, else each goes on.
    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy(), *map(list, values))


def assign(variable: tf.Variable, value: tf.Tensor) -> None:
    """Writes a value, cast to the variable's type; for `everywhere`."""
    variable.assign(tf.cast(value, variable.dtype))


def only_if(condition: tf.Tensor, change: Callable[..., None], *values: Any) -> None:
    """Calls a function on each replica when a condition holds; else not one variable is touched.

    Args:
        condition: () bool, the same on all replicas.
        change: (*values), without collective operations: where the condition does not hold they are not made.
        *values: Tensors, or lists of them, that this replica has.
    """
    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        tf.cond(condition, lambda: change(*values), lambda: None)
        return

    def together(strategy: tf.distribute.Strategy, conditions: Any, *given: Any) -> None:
        # TensorFlow lets replicas meet within a branch only when the branch was taken by all of them at once.
        holds = strategy.experimental_local_results(conditions)[0]
        tf.cond(holds, lambda: strategy.extended.call_for_each_replica(change, args=given), lambda: None)

    tf.distribute.get_replica_context().merge_call(together, args=(condition, *values))
