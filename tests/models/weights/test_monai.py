"""Weights of PyTorch's networks: names, layouts, files, and what is refused.

What PyTorch answers with these weights is computed here by its definition, in numpy: PyTorch is no part of radkit.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest

from radkit import models
from radkit.errors import UserError
from radkit.models import weights
from radkit.models.weights import monai

PERMUTED = {
    "basic_unet": {"filters": (4, 4, 6, 6, 8, 4)},
    "monai_unet": {"filters": (4, 8), "norm": "batch", "affine": True},
    "dynunet": {"filters": (4, 6, 8), "blocks": "residual", "deep_supervision": True},
    "segresnet": {"filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)},
}
_TO_TORCH = {
    "kernel": "weight",
    "gamma": "weight",
    "alpha": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def state_of(network: keras.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns invented weights as PyTorch would hold them for this network's twin."""
    random, state = np.random.default_rng(seed), {}
    for layer in network.layers:
        for variable in layer.weights:
            array = random.uniform(0.1, 1, variable.shape).astype(np.float32)
            if variable.name == "kernel":
                array = array.transpose(array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
            state[f"{layer.name}.{_TO_TORCH[variable.name]}"] = array.ravel() if variable.name == "alpha" else array
        if any(variable.name == "moving_mean" for variable in layer.weights):
            state[f"{layer.name}.num_batches_tracked"] = np.array(7)
    return state


def built(name: str, rank: int = 3, **more: object) -> keras.Model:
    return models.build(name, input_shape=(*(16,) * rank, 1), num_classes=2, **(PERMUTED.get(name, {}) | more))


def safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        kind = {"float32": "F32", "int64": "I64", "uint16": "BF16"}[str(array.dtype)]
        place = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
        body += array.tobytes()
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + body


@pytest.mark.parametrize("name", PERMUTED)
def test_every_array_goes_to_the_layer_of_its_name(name: str) -> None:
    network = built(name)
    state = state_of(network)
    report = monai.load(network, state)
    assert {row.outcome for row in report.rows} == {"loaded"}
    for layer in network.layers:
        for variable in layer.weights:
            array, given = np.asarray(variable), state[f"{layer.name}.{_TO_TORCH[variable.name]}"]
            if variable.name == "kernel":
                np.testing.assert_array_equal(array[..., 0, 1] if array.shape[-1] > 1 else array[..., 0, 0],
                                              given[1, 0] if array.shape[-1] > 1 else given[0, 0])  # fmt: skip
            else:
                np.testing.assert_array_equal(array.ravel(), given)


def test_convolutions_answer_as_pytorch_defines_them() -> None:
    inputs = keras.Input((4, 5, 2))
    x = keras.layers.Conv2D(3, 3, padding="valid", name="a.conv")(inputs)
    x = keras.layers.Conv2DTranspose(2, 2, strides=2, padding="valid", name="b.conv")(x)
    network = keras.Model(inputs, x)
    state = state_of(network)
    monai.load(network, state)
    image = np.random.default_rng(1).normal(size=(1, 2, 4, 5)).astype(np.float32)
    middle = np.zeros((1, 3, 2, 3), np.float32)
    for row in range(2):
        for column in range(3):
            seen = image[0, :, row : row + 3, column : column + 3]
            middle[0, :, row, column] = np.einsum("oijk,ijk->o", state["a.conv.weight"], seen) + state["a.conv.bias"]
    wanted = np.zeros((1, 2, 4, 6), np.float32)
    for row in range(2):
        for column in range(3):
            spread = np.einsum("i,iojk->ojk", middle[0, :, row, column], state["b.conv.weight"])
            wanted[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += spread
    wanted += state["b.conv.bias"].reshape(1, -1, 1, 1)
    found = np.moveaxis(np.asarray(network(np.moveaxis(image, 1, -1))), -1, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("conv1", "conv1_conv"),
        ("bn1", "conv1_bn"),
        ("layer1.0.conv1", "conv2_block1_1_conv"),
        ("layer4.2.bn3", "conv5_block3_3_bn"),
        ("layer2.0.downsample.0", "conv3_block1_0_conv"),
        ("layer2.0.downsample.1", "conv3_block1_0_bn"),
        ("fc", "predictions"),
        ("features.conv0", "conv1_conv"),
        ("features.denseblock1.denselayer6.layers.norm2", "conv2_block6_1_bn"),
        ("features.denseblock4.denselayer16.conv1", "conv5_block16_1_conv"),
        ("features.transition1.conv", "pool2_conv"),
        ("features.norm5", "bn"),
        ("class_layers.out", "predictions"),
        ("classifier", "predictions"),
        ("model.0.conv", "model.0.conv"),
    ],
)
def test_names_of_residual_and_dense_networks(module: str, layer: str) -> None:
    assert monai._renamed(module) == layer


def test_what_dynunet_lists_twice_is_taken_once() -> None:
    network = built("dynunet")
    state = state_of(network)
    name = "input_block.conv1.conv.weight"
    monai.load(network, {**state, f"skip_layers.downsample.{name[12:]}": state[name].copy()})
    with pytest.raises(UserError, match=r"skip_layers\.next\.conv: no place for it"):
        monai.load(network, {**state, "skip_layers.next.conv.weight": np.ones((4, 4, 3, 3, 3), np.float32)})


def test_normalisations_without_weights_stay_as_they_are() -> None:
    network = models.build("monai_unet", input_shape=(16, 16, 1), num_classes=2, filters=(4, 8))
    state = {name: array for name, array in state_of(network).items() if ".adn.N." not in name}
    assert {row.layer.rpartition(".")[2] for row in monai.load(network, state).of("new")} == {"N"}


class TestFiles:
    @pytest.fixture
    def network(self) -> keras.Model:
        inputs = keras.Input((8, 8, 1))
        return keras.Model(inputs, keras.layers.Conv2D(2, 3, name="a.conv")(inputs), name="tiny")

    def test_both_kinds_are_read(self, network: keras.Model, tmp_path: Path) -> None:
        state = state_of(network)
        np.savez(tmp_path / "a.npz", **state)
        (tmp_path / "a.safetensors").write_bytes(safetensors(state))
        for name in ("a.npz", "a.safetensors"):
            network.set_weights([np.zeros_like(value) for value in network.get_weights()])
            monai.load(network, tmp_path / name)
            np.testing.assert_array_equal(network.get_weights()[1], state["a.conv.bias"])

    def test_bfloat16_is_half_a_float(self) -> None:
        half = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
        np.testing.assert_array_equal(monai._safetensors(safetensors({"x": half}))["x"], [1.5, -2.0])

    def test_tensors_and_wrapped_states_are_taken(self, network: keras.Model) -> None:
        class Tensor:
            def __init__(self, array: np.ndarray) -> None:
                self.array = array

            def detach(self) -> "Tensor":
                return self

            cpu = float = detach

            def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
                return self.array

        state = state_of(network)
        monai.load(network, {"state_dict": {f"module.{name}": Tensor(array) for name, array in state.items()}})
        np.testing.assert_array_equal(network.get_weights()[1], state["a.conv.bias"])

    def test_as_weights_to_begin_with_part_is_enough(self, network: keras.Model, tmp_path: Path) -> None:
        state = {"a.conv.weight": np.ones((2, 3, 3, 3), np.float32), "a.conv.bias": np.ones(2, np.float32)}
        np.savez(tmp_path / "a.npz", **state, **{"b.conv.weight": np.ones((2, 2, 1, 1), np.float32)})
        report = weights.load(network, str(tmp_path / "a.npz"))
        assert [(row.outcome, row.how) for row in report.rows] == [("adapted", "3 -> 1 channels by sum")]
        assert report.unused == ("b.conv",)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"b.conv.weight": np.ones((2, 2, 1, 1))}, "b.conv: no place for it"),
            ({"a.conv.bias": np.ones(3)}, r"a.conv: \(2,\) here, \(3,\) in the file"),
            ({"a.conv.bias": None}, "a.conv: 2 arrays here, 1 in the file"),
            ({"a.conv.weight": None, "a.conv.bias": None, "b.bias": np.ones(2)}, "a.conv: not in the file"),
            ({"a.conv.scale": np.ones(2)}, r"'a\.conv\.scale' is no weight, bias"),
        ],
    )
    def test_what_does_not_fit_is_listed_and_nothing_is_changed(
        self, network: keras.Model, change: dict[str, np.ndarray | None], said: str
    ) -> None:
        before = network.get_weights()
        state = {name: array for name, array in {**state_of(network), **change}.items() if array is not None}
        with pytest.raises(UserError, match=said):
            monai.load(network, state)
        np.testing.assert_array_equal(network.get_weights()[0], before[0])

    @pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
    def test_a_file_that_is_cut_off_is_told(self, network: keras.Model, name: str, tmp_path: Path) -> None:
        state = state_of(network)
        np.savez(tmp_path / "a.npz", **state)
        (tmp_path / "a.safetensors").write_bytes(safetensors(state))
        whole = (tmp_path / name).read_bytes()
        for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(UserError, match="cannot be read"):
                monai.load(network, tmp_path / name)

    def test_what_is_no_state_is_refused(self, network: keras.Model) -> None:
        with pytest.raises(UserError, match="must be a state_dict"):
            monai.load(network, [np.ones(2)])  # type: ignore[arg-type]

    def test_a_compiled_networks_names_are_taken(self, network: keras.Model) -> None:
        state = state_of(network)
        monai.load(network, {f"module._orig_mod.{name}": array for name, array in state.items()})
        np.testing.assert_array_equal(network.get_weights()[1], state["a.conv.bias"])

    @pytest.mark.parametrize(("name", "said"), [("a.pt", "safetensors.torch.save_file"), ("b.npz", "cannot be read")])
    def test_other_files_are_refused(self, network: keras.Model, name: str, said: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=said):
            monai.load(network, tmp_path / name)
