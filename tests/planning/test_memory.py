"""Memory from a graph: values worked by hand."""

import pytest
import tensorflow as tf

from radkit.planning import memory

MIB = 2**20
IMAGE = tf.TensorSpec((1, 512, 512, 1), tf.float32)  # 1 MiB


def most_held(function) -> int:
    return memory.most_held(tf.function(function).get_concrete_function(IMAGE).graph)


@pytest.mark.parametrize(
    ("function", "images"),
    [
        (lambda x: tf.nn.relu(tf.nn.relu(tf.transpose(x))), 2),  # the image and one more, written over
        (lambda x: tf.reshape(tf.transpose(x), (-1,)), 2),  # the same numbers in another shape
        (lambda x: tf.concat([x, x], 0), 3),
        (
            lambda x: tf.reduce_sum(tf.transpose(tf.concat([x, x], 0))),
            4,
        ),  # the image is read no more, its maker holds it
    ],
)
def test_tensors_are_held_from_their_maker_to_their_last_reader(function, images):
    # What is below a hundredth of an image is a constant or a sum.
    assert most_held(function) / MIB == pytest.approx(images, abs=0.01)


def test_a_called_function_counts():
    inner = tf.function(lambda x: tf.reduce_sum(tf.concat([x, x, x], 0)))
    assert most_held(lambda x: inner(x) + 1.0) / MIB == pytest.approx(4, abs=0.01)


def test_what_the_backward_pass_needs_is_held():
    def backward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in range(5):
                y = tf.sin(y)  # its gradient reads its input
        return tf.reduce_sum(tape.gradient(y, x))

    assert most_held(backward) / MIB >= 6


def test_a_prediction_has_variables_at_their_size():
    weights = tf.Variable(tf.zeros((1024, 1024)))
    step = tf.function(lambda x: tf.reduce_sum(x)).get_concrete_function(IMAGE)
    found = memory.predict(step, [weights, tf.Variable(0, dtype=tf.int64)])
    assert found.variables == 4 * MIB + 8
    assert found.total == found.program + found.variables + found.step
    assert found.spell().endswith("step 0.00)")


def test_a_list_of_images_is_a_copy_that_is_held():
    def images(x):
        return tf.reduce_sum(tf.map_fn(tf.reduce_sum, tf.reshape(x, (32, 16, 512)))) + tf.reduce_sum(x)

    assert most_held(images) / MIB == pytest.approx(2, abs=0.01)


def test_a_graph_takes_memory_by_its_operations():
    def chain(count):
        def function(x):
            for _ in range(count):
                x = tf.reduce_sum(x, keepdims=True)
            return x

        return memory.predict(tf.function(function).get_concrete_function(IMAGE), [])

    short, long = chain(10), chain(1010)
    # A sum and its axes, or its axes alone once for all: at least one operation more each time.
    assert long.program - short.program >= 1000 * memory.OPERATION_BYTES
    assert long.step == pytest.approx(short.step, rel=0.01)
