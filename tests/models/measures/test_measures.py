"""FLOPs and receptive fields: worked by hand, told by papers, and seen by gradients."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from radkit import models
from radkit.errors import UserError
from radkit.models import layers as ours
from radkit.models import measures


def network(*made: object, shape: tuple = (32, 32, 2)) -> keras.Model:
    image = x = keras.Input(shape)
    for layer in made:
        x = layer(x)
    return keras.Model(image, x)


class TestFlops:
    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            ([layers.Conv2D(4, 3, padding="same", use_bias=False)], 2 * 32 * 32 * 4 * 9 * 2),
            ([layers.Conv2D(4, 3, strides=2, padding="same")], 2 * 16 * 16 * 4 * 9 * 2 + 16 * 16 * 4),
            ([layers.Conv2D(4, 3, groups=2, padding="same", use_bias=False)], 2 * 32 * 32 * 4 * 9 * 1),
            ([layers.DepthwiseConv2D(5, padding="same", use_bias=False)], 2 * 32 * 32 * 2 * 25),
            ([layers.Conv2DTranspose(3, 2, strides=2, use_bias=False)], 2 * 32 * 32 * 2 * 3 * 4),
            ([layers.Flatten(), layers.Dense(10)], 2 * 2048 * 10 + 10),
            ([layers.ReLU(), layers.Dropout(0.5)], 32 * 32 * 2),
            ([layers.Reshape((32, 64)), layers.LSTM(8)], 2 * 32 * (64 * 32 + 8 * 32) + 8),
        ],
    )
    def test_a_layer_counts_what_it_computes(self, made: list, expected: int) -> None:
        assert measures.flops(network(*made)) == expected

    def test_volumes_count_likewise(self) -> None:
        x = keras.Input((8, 8, 8, 1))
        y = ours.convolve_depthwise(ours.convolve(x, 4, 3), 3)
        assert measures.flops(keras.Model(x, y)) == 2 * 512 * 4 * 27 + 2 * 512 * 4 * 27

    def test_every_slice_of_a_set_counts(self) -> None:
        from radkit.models import slices

        x = keras.Input((5, 8, 8, 1))
        y = layers.Conv2D(3, 1, use_bias=False)(slices.ImagesToBatch()(x))
        model = keras.Model(x, slices.BatchToImages()([slices.pool(y), x]))
        assert dict(measures.by_layer(model))[model.layers[2].name] == 5 * 2 * 64 * 3

    def test_free_sizes_are_refused(self) -> None:
        with pytest.raises(UserError, match="free sizes"):
            measures.flops(network(layers.Conv2D(4, 3), shape=(None, None, 1)))

    def test_what_has_no_graph_is_refused(self) -> None:
        with pytest.raises(UserError, match="has no graph"):
            measures.flops(keras.layers.Dense(2))


def seen(model: keras.Model, size: int) -> int:
    """Returns the widest run of input that an output depends on, by changing one input voxel after the other."""
    line = np.zeros((size + 1, size, 8, 1), "float32")
    line[np.arange(size), np.arange(size)] = 1.0  # a column of ones at one place each; the last has none
    answers = np.asarray(model(line))
    moved = np.abs(answers[:-1] - answers[-1:]).max(axis=(2, 3)) > 0  # place changed, place of the answer
    return max(np.flatnonzero(column).max() - np.flatnonzero(column).min() + 1 for column in moved.T if column.any())


def convolutions(kinds: list[tuple[int, int, int]]) -> keras.Model:
    x = image = keras.Input((96, 8, 1))
    for size, stride, dilation in kinds:
        x = layers.Conv2D(
            1,
            (size, 1),
            strides=(1 if dilation > 1 else stride, 1),
            dilation_rate=(dilation, 1),
            padding="same",
            kernel_initializer="ones",
        )(x)
    return keras.Model(image, x)


class TestReceptiveField:
    @settings(max_examples=12)
    @given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=4))
    def test_convolutions_see_what_they_are_said_to(self, kinds: list[tuple[int, int, int]]) -> None:
        model = convolutions(kinds)
        assert measures.receptive_field(model)[0] == seen(model, 96)

    @pytest.mark.parametrize("stride", [2, 3])
    def test_a_small_u_net_sees_what_it_is_said_to(self, stride: int) -> None:
        image = keras.Input((96, 8, 1))
        ones = {"padding": "same", "kernel_initializer": "ones"}
        down = layers.Conv2D(1, (3, 1), **ones)(layers.Conv2D(1, (3, 1), strides=(stride, 1), **ones)(image))
        up = layers.Conv2DTranspose(1, (stride, 1), strides=(stride, 1), **ones)(down)
        joined = layers.Conv2D(1, (3, 1), **ones)(layers.Concatenate()([up, image]))
        model = keras.Model(image, joined)
        assert measures.receptive_field(model)[0] == seen(model, 96)

    def test_pooling_and_resizing_count(self) -> None:
        made = (layers.MaxPooling2D(2), layers.Conv2D(1, 3, padding="same"), layers.UpSampling2D(2))
        assert measures.receptive_field(network(*made)) == (6, 6)
        linear = ours.Resize(2)
        assert measures.receptive_field(network(layers.MaxPooling2D(2), linear)) == (4, 4)

    def test_gates_are_left_out_and_axes_differ(self) -> None:
        image = keras.Input((16, 16, 1))
        x = layers.Conv2D(4, (1, 5), padding="same")(image)
        gate = layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(x))
        assert measures.receptive_field(keras.Model(image, layers.Multiply()([x, gate]))) == (1, 5)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "size", "field", "multiply_adds"),
        # Araujo et al. 2019, https://distill.pub/2019/computing-receptive-fields; billions of multiply-adds: papers'.
        [
            ("vgg16", 224, 212, 15.5),
            ("resnet50", 224, 483, 3.9),
            ("inception_v3", 299, 1311, 5.7),
            ("densenet121", 224, 2071, 2.6),  # 2.9 in the paper, whose transitions convolve before they pool
            ("efficientnet_b0", 224, 851, 0.39),
        ],
    )
    def test_known_networks_are_as_papers_say(self, name: str, size: int, field: int, multiply_adds: float) -> None:
        built = models.build(name, input_shape=(size, size, 3), num_classes=1000)
        assert measures.receptive_field(built) == (field, field)
        assert measures.flops(built) / 2e9 == pytest.approx(multiply_adds, rel=0.04)


class TestDiagram:
    def test_a_u_net_goes_down_and_up(self) -> None:
        from xml.etree import ElementTree

        built = models.build("unet", input_shape=(32, 32, 1), num_classes=2, filters=(4, 8, 16))
        text = measures.draw(built, "a < b")
        ElementTree.fromstring(text)
        assert "a &lt; b" in text
        assert text.count("<rect") == 1 + 6, "the image, three levels down, two up"
        assert text.count('class="up"') == 1
        assert text.count('class="skip"') == 2


def test_a_head_that_levels_share_is_counted_once_a_level() -> None:
    given = keras.Input((None, None, 2))
    head = keras.Model(given, layers.Conv2D(3, 3, padding="same", use_bias=False)(given))
    image = keras.Input((8, 6, 2))
    halved = layers.MaxPooling2D()(image)
    network = keras.Model(image, [head(image), head(halved)])
    of_places = 2 * 3 * 3 * 2 * 3
    pooled = measures.flops(keras.Model(image, halved))
    assert measures.flops(network) == of_places * (8 * 6 + 4 * 3) + pooled
    assert measures.receptive_field(network) == (6, 6), "of the level that sees most"
