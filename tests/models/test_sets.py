"""Networks over sets of images, over slices as channels, and over image and table."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import models
from radkit.errors import UserError
from radkit.models import attention_mil, fusion, slices

TINY = {"backbone": "resnet", "backbone_settings": {"filters": (4, 8), "blocks": (1, 1)}}
SHAPE = (None, 16, 16, 1)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def build(name: str, shape: tuple[int | None, ...] = SHAPE, **more: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.build(name, input_shape=shape, num_classes=2, **more)


class TestSlices:
    @settings(max_examples=10)
    @given(sizes=st.lists(st.integers(1, 3), min_size=5, max_size=5))
    def test_images_go_into_the_batch_and_back(self, sizes: list[int]) -> None:
        sets = random(*sizes)
        images = slices.ImagesToBatch()(sets)
        assert images.shape == (sizes[0] * sizes[1], *sizes[2:])
        np.testing.assert_array_equal(slices.BatchToImages()([images, sets]), sets)

    @settings(max_examples=15)
    @given(length=st.integers(1, 6), count=st.integers(1, 7), every=st.booleans())
    def test_neighbours_become_channels(self, length: int, count: int, every: bool) -> None:
        volume = random(2, length, 2, 3, 2)
        expected = []
        for one in volume:
            for centre in range(length) if every else [length // 2]:
                near = [min(max(centre - count // 2 + k, 0), length - 1) for k in range(count)]
                expected.append(np.concatenate([one[k] for k in near], -1))
        np.testing.assert_array_equal(slices.Neighbours(count, every)(volume), np.stack(expected))

    def test_an_image_of_zeros_is_none_but_a_set_of_them_is_whole(self) -> None:
        sets = np.zeros((2, 3, 4, 4, 1), np.float32)
        sets[0, 1, 2, 2] = -1
        np.testing.assert_array_equal(slices.Present()(sets), [[False, True, False], [True, True, True]])


class TestAttention:
    @pytest.mark.parametrize("gated", [True, False])
    def test_weights_are_the_papers(self, gated: bool) -> None:
        layer, members = attention_mil.Attention(3, gated), random(2, 4, 5)
        found = np.array(layer(members))
        hidden = np.tanh(members @ np.array(layer.tanh))
        if gated:
            hidden = hidden / (1 + np.exp(-members @ np.array(layer.gate)))
        scores = np.exp((hidden @ np.array(layer.score))[..., 0])
        np.testing.assert_allclose(found, scores / scores.sum(1, keepdims=True), atol=1e-6)

    def test_the_order_of_images_is_nothing_to_it(self) -> None:
        network, exam = build("attention_mil", **TINY), random(1, 5, 16, 16, 1)
        np.testing.assert_allclose(network(exam[:, ::-1]), network(exam), atol=1e-5)

    def test_its_weights_can_be_asked_for(self) -> None:
        weights = attention_mil.attention(build("attention_mil", **TINY))(random(2, 5, 16, 16, 1))
        assert weights.shape == (2, 5)
        np.testing.assert_allclose(np.sum(weights, 1), 1, atol=1e-6)
        with pytest.raises(UserError, match="no layer 'attention'"):
            attention_mil.attention(build("recurrent", **TINY))


@pytest.mark.parametrize(
    ("name", "more"),
    [("attention_mil", {}), ("recurrent", {}), ("recurrent", {"cell": "gru", "depth": 2, "both_directions": False})],
)
def test_images_of_zeros_that_are_skipped_change_nothing(name: str, more: dict) -> None:
    exam = random(1, 3, 16, 16, 1)
    padded = np.concatenate([exam, np.zeros_like(exam)], 1)
    network = build(name, skip_empty=True, **TINY, **more)
    np.testing.assert_allclose(network(padded), network(exam), atol=1e-5)
    plain = build(name, **TINY, **more)
    plain.set_weights(network.get_weights())
    assert np.abs(plain(padded) - plain(exam)).max() > 1e-4


class TestRecurrent:
    def test_it_reads_in_order(self) -> None:
        network, exam = build("recurrent", both_directions=False, **TINY), random(1, 5, 16, 16, 1)
        assert np.abs(network(exam[:, ::-1]) - network(exam)).max() > 1e-4

    def test_its_state_has_two_halves_in_both_directions(self) -> None:
        widths = [
            build("recurrent", units=5, both_directions=both, **TINY).get_layer("predictions").kernel.shape[0]
            for both in (False, True)
        ]
        assert widths == [5, 10]

    @pytest.mark.parametrize(
        ("wrong", "message"), [({"cell": "lstn"}, "did you mean 'lstm'"), ({"depth": 0}, "depth 0; give 1 or more")]
    )
    def test_wrong_settings_are_refused(self, wrong: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            build("recurrent", **TINY, **wrong)


class TestFusion:
    def test_what_is_unknown_is_replaced_and_told(self) -> None:
        layer = fusion.Known()
        layer.build((None, 3))
        layer.replacement.assign([5.0, 6.0, 7.0])
        found = layer(np.array([[1, np.nan, 3], [np.nan, 2, np.nan]], np.float32))
        np.testing.assert_array_equal(found, [[1, 6, 3, 1, 0, 1], [5, 2, 7, 0, 1, 0]])

    def test_gradients_are_finite_where_values_are_unknown(self) -> None:
        network = build("fusion", (16, 16, 1), table=2, **TINY)
        batch = {"image": random(2, 16, 16, 1), "table": np.array([[np.nan, 1], [2, np.nan]], np.float32)}
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(batch) ** 2)
        gradients = tape.gradient(loss, network.trainable_weights)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        of_replacement = gradients[[w.name for w in network.trainable_weights].index("replacement")]
        assert np.abs(of_replacement).max() > 0

    def test_it_is_an_image_network_without_a_table(self) -> None:
        assert build("fusion", (16, 16, 1), **TINY)(random(2, 16, 16, 1)).shape == (2, 2)
        with pytest.raises(UserError, match="table of -1 columns"):
            build("fusion", (16, 16, 1), table=-1, **TINY)

    @pytest.mark.slow
    def test_it_learns_from_table_and_image_together(self) -> None:
        """The class is told by the table where the image is blank, and by the image where the table is unknown."""
        source = np.random.default_rng(0)
        label = source.integers(0, 2, 128)
        by_table = source.integers(0, 2, 128).astype(bool)
        image = source.normal(size=(128, 16, 16, 1)).astype(np.float32)
        image[~by_table & (label == 1), 4:12, 4:12] += 2
        table = np.where(by_table, 2.0 * label - 1, np.nan).astype(np.float32)[:, None]
        network = build("fusion", (16, 16, 1), table=1, dropout=0.1, **TINY)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(keras.optimizers.Adam(1e-2), loss=loss, metrics=["accuracy"])
        network.fit({"image": image[:96], "table": table[:96]}, label[:96], batch_size=16, epochs=30, verbose=0)
        _, accuracy = network.evaluate({"image": image[96:], "table": table[96:]}, label[96:], verbose=0)
        assert accuracy > 0.9


class TestSlicesAsChannels:
    TINY = {"network": "resnet", "network_settings": {"filters": (4, 8), "blocks": (1, 1)}}
    SEGMENTER = {"network": "unet", "network_settings": {"filters": (2, 4)}}

    def test_only_the_middle_slices_count(self) -> None:
        network, volume = build("slices_as_channels", slices=3, **self.TINY), random(1, 7, 16, 16, 1)
        other = volume.copy()
        other[:, [0, 1, 5, 6]] = 0
        np.testing.assert_array_equal(network(other), network(volume))
        other[:, 4] = 0
        assert np.abs(network(other) - network(volume)).max() > 1e-4

    @pytest.mark.parametrize(
        ("length", "more", "channels"),
        [(5, {}, 5), (None, {}, 3), (5, {"slices": 2}, 2), (5, {"answer": "every", **SEGMENTER}, 3)],
    )
    def test_it_sees_so_many(self, length: int | None, more: dict, channels: int) -> None:
        network = build("slices_as_channels", (length, 16, 16, 2), **{**self.TINY, **more})
        assert network.get_layer("slices_as_channels").output.shape[-1] == 2 * channels

    def test_a_segmenter_marks_the_middle_slice_or_each(self) -> None:
        volume = random(2, 5, 16, 12, 1)
        shape = (None, 16, 12, 1)
        middle = build("slices_as_channels", shape, slices=3, **self.SEGMENTER)
        every = build("slices_as_channels", shape, slices=3, answer="every", **self.SEGMENTER)
        every.set_weights(middle.get_weights())
        assert middle(volume).shape == (2, 16, 12, 2)
        assert every(volume).shape == (2, 5, 16, 12, 2)
        np.testing.assert_allclose(every(volume)[:, 2], middle(volume), atol=1e-5)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [({"answer": "all"}, "no answer 'all'"), ({"answer": "every"}, "needs a segmenter, and 'resnet' is none")],
    )
    def test_wrong_settings_are_refused(self, wrong: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            build("slices_as_channels", **self.TINY, **wrong)


@pytest.mark.slow
def test_attention_finds_the_slice_that_tells() -> None:
    source = np.random.default_rng(0)
    label, place = source.integers(0, 2, 160), source.integers(0, 6, 160)
    exams = source.normal(size=(160, 6, 16, 16, 1)).astype(np.float32)
    for exam in np.flatnonzero(label):
        exams[exam, place[exam], 5:11, 5:11] += 3
    network = build("attention_mil", (6, 16, 16, 1), units=8, **TINY)
    network.compile(keras.optimizers.Adam(1e-2), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(exams[:128], label[:128], batch_size=16, epochs=15, verbose=0)
    answers = np.argmax(network.predict(exams[128:], verbose=0), -1)
    assert np.mean(answers == label[128:]) > 0.9
    positive = 128 + np.flatnonzero(label[128:])
    weights = attention_mil.attention(network).predict(exams[positive], verbose=0)
    assert np.mean(np.argmax(weights, -1) == place[positive]) > 0.9
