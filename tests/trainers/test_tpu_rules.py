"""What a TPU would refuse is named with its place; what it takes is not."""

from collections.abc import Callable

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from trainers import tpu_rules

BOXES = tf.TensorSpec((8, 4))


def found(function: Callable, *specs: tf.TensorSpec, layers: tuple[str, ...] = (), **more: bool) -> list:
    step = tf.function(function, jit_compile=True)
    return tpu_rules.of_step(step, specs or (BOXES,), layers, **{"compiles": False, **more})


def on_host(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda a: a, [x], tf.float32), x.shape)


def through_numpy(x: tf.Tensor) -> tf.Tensor:
    return tf.numpy_function(np.sort, [x], tf.float32)


def printed(x: tf.Tensor) -> tf.Tensor:
    tf.print("loss", x)
    return x + 1.0


def chosen(x: tf.Tensor) -> tf.Tensor:
    with tf.name_scope("gate"):
        return tf.reduce_sum(tf.boolean_mask(x, x[:, 0] > 0))


def places(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.where(x > 0))


def distinct(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.unique(tf.cast(x[:, 0], tf.int32)).y)


def suppressed(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.image.non_max_suppression(x, x[:, 0], 5))


def ragged(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.RaggedTensor.from_tensor(x, lengths=tf.cast(x[:, 0], tf.int64)).values)


def spelled(x: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_number(tf.strings.as_string(x))


def double(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(tf.cast(x, tf.float64) * 2.0), tf.float32)


def in_a_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(x[0, 0] > 0, lambda: on_host(x), lambda: x)


def in_a_loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda n, _: n < 3, lambda n, y: (n + 1, on_host(y)), (0, x))[1]


class TestStep:
    @pytest.mark.parametrize(
        ("function", "what", "advice"),
        [
            (on_host, "EagerPyFunc", "input pipeline"),
            (through_numpy, "PyFunc", "input pipeline"),
            (printed, "PrintV2", "print what the step returns"),
            (spelled, "AsString", "numbers in the input pipeline"),
            (chosen, "Where", "three arguments"),
            (places, "Where", "three arguments"),
            (distinct, "Unique", "sort"),
            (suppressed, "NonMaxSuppressionV3", "radkit.boxes.suppression"),
            (ragged, "Where", "three arguments"),
            (double, "float64", "cast to float32"),
            (in_a_branch, "EagerPyFunc", "input pipeline"),
            (in_a_loop, "EagerPyFunc", "input pipeline"),
        ],
    )
    def test_what_a_tpu_refuses_is_named_with_its_line(self, function: Callable, what: str, advice: str) -> None:
        refused = [one for one in found(function) if one.is_refused]
        named = [one for one in refused if what in one.what and advice in one.advice]
        assert named, refused
        assert any("tests/trainers/test_tpu_rules.py:" in one.where for one in named), named

    @pytest.mark.parametrize(
        "function",
        [
            lambda x: tf.where(x > 0, x, 0.0),
            lambda x: tf.image.non_max_suppression_padded(x, x[:, 0], 5, pad_to_max_output_size=True)[0],
            lambda x: tf.math.top_k(x, 2).values,
            lambda x: tf.map_fn(lambda row: row * 2.0, x),
            lambda x: tf.random.stateless_normal((8, 4), (1, 2)) + x,
            lambda x: tf.cast(x, tf.bfloat16) @ tf.ones((4, 4), tf.bfloat16),
        ],
    )
    def test_what_a_tpu_takes_is_not_named(self, function: Callable) -> None:
        assert found(function, compiles=True) == []

    def test_the_layer_is_named(self) -> None:
        (one,) = found(chosen, layers=("gate", "other"))
        assert one.where.startswith("layer 'gate', gate/boolean_mask/Where")
        assert one.spell().startswith("refused: Where (layer 'gate'")

    def test_sizes_that_follow_from_values_are_told_in_xla_s_words(self) -> None:
        (one,) = found(lambda x: tf.reduce_sum(tf.fill([tf.cast(x[0, 0], tf.int32)], 1.0)))
        assert one.is_refused
        assert "XLA does not compile it" in one.why
        assert "test_tpu_rules.py:" in one.where

    def test_a_free_size_is_named_beside_what_has_no_kernel(self) -> None:
        both = found(lambda x: tf.reduce_sum(on_host(x)) + tf.cast(places(x), tf.float32))
        assert {"EagerPyFunc", "Where"} <= {one.what for one in both}

    def test_many_places_of_one_offence_are_counted(self) -> None:
        several = found(lambda x: tf.add_n([on_host(x) for _ in range(5)]))
        assert len(several) == 3
        assert several[-1].where.endswith("and 2 more")

    @pytest.mark.parametrize(
        ("function", "what"),
        [
            (lambda x: tf.cast(tf.cast(x, tf.float16) * 2, tf.float32), "float16"),
            (lambda x: tf.reduce_sum(tf.cast(x[0, 0], tf.int64) + tf.range(2**20, dtype=tf.int64)), "int64"),
        ],
    )
    def test_what_is_slow_is_told_and_not_refused(self, function: Callable, what: str) -> None:
        told = found(function)
        assert told
        assert all(what in one.what and not one.is_refused for one in told)

    def test_a_call_of_the_host_in_the_program_is_named(self) -> None:
        call = '%c.1 = f32[2]{0} custom-call(f32[2]{0} %a), custom_call_target="host"'
        line = call + ', metadata={op_type="A" op_name="b"}'
        (one,) = tpu_rules._of_program(line, {}, ())
        assert (one.what, one.where) == ("A", "b")
        assert "host" in one.why


class TestBatch:
    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            (tf.TensorSpec((2, None, 3)), "its shape is (2, None, 3)"),
            (tf.TensorSpec(None), "its shape is <unknown>"),
            (tf.TensorSpec((2,), tf.string), "text"),
            (tf.TensorSpec((2,), tf.float64), "float64"),
            (tf.RaggedTensorSpec((2, None)), "a RaggedTensor"),
            (tf.SparseTensorSpec((2, 3)), "a SparseTensor"),
        ],
    )
    def test_a_leaf_that_a_tpu_refuses_is_named(self, spec: tf.TypeSpec, said: str) -> None:
        (one,) = tpu_rules.of_batch({"image": tf.TensorSpec((2, 8, 8, 1)), "odd": spec})
        assert one.what == "batch['odd']"
        assert said in one.why
        assert one.is_refused

    @hypothesis.given(
        st.lists(st.integers(0, 9), max_size=5), st.sampled_from([tf.float32, tf.int64, tf.uint8, tf.bool, tf.int16])
    )
    def test_fixed_sizes_of_numbers_are_taken(self, sizes: list[int], dtype: tf.DType) -> None:
        assert tpu_rules.of_batch({"leaf": tf.TensorSpec(sizes, dtype)}) == []
