"""Some small SavedModels and a server of them, made once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from radkit import config
from serving import gate, models, server

MAX_MESSAGE_BYTES = 4 << 20
MODELS = ("numbers", "segment", "classify", "turned", "grey")
_APART = gate._apart


@pytest.fixture(scope="session", autouse=True)
def _near(near_gate: None) -> None:
    """Exports of this folder's tests are held to their runs in this process."""


@pytest.fixture
def fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate as it is, in a fresh process without keras."""
    monkeypatch.setattr(gate, "_apart", _APART)


def _save(function: object, folder: Path, data: config.Data | None = None, **specs: tf.TensorSpec) -> None:
    module = tf.Module()
    module.answer = tf.function(function, input_signature=list(specs.values()))
    signatures = {"serving_default": module.answer}
    if data is not None:
        told = json.dumps(config.data_to_json(data))
        module.told = tf.function(
            lambda spacing_mm: {"data": tf.fill(tf.shape(spacing_mm)[:1], told)}, input_signature=[specs["spacing_mm"]]
        )
        signatures["records"] = module.told
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _numbers(x: tf.Tensor, name: tf.Tensor) -> dict[str, tf.Tensor]:
    # A wish for 63 values fails in the graph only: TensorFlow's own error, not one of ours.
    checked = tf.cond(tf.reduce_any(x > 1e6), lambda: tf.reshape(x, [7, 9]), lambda: x)
    return {"doubled": 2 * checked + 1, "name": tf.strings.join([name, "!"]), "half": tf.cast(x, tf.bfloat16)}


def _segment(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    mask = tf.cast(image[..., 0] > 100, tf.uint8) + tf.cast(image[..., 0] > 200, tf.uint8)
    names = tf.tile([["liver", "tumour"]], [tf.shape(spacing_mm)[0], 1])
    return {"mask": mask, "class_names": names}


def _classify(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    share = tf.reduce_mean(tf.cast(image > 100, tf.float32), axis=[1, 2, 3])
    names = tf.tile([["healthy", "ill"]], [tf.shape(spacing_mm)[0], 1])
    return {"probabilities": tf.stack([1 - share, share], axis=1), "class_names": names}


def _first_columns(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    """Finds what is bright in the first half of the columns, and the first voxel of the second slice."""
    columns = tf.range(tf.shape(image)[3])
    half = columns[None, None, None] < tf.shape(image)[3] // 2
    corner = tf.zeros_like(image[..., 0], tf.bool)
    corner = tf.tensor_scatter_nd_update(corner, [[0, 1, 0, 0]], [True])
    mask = tf.cast(half & (image[..., 0] > 100), tf.uint8)
    names = tf.tile([["bright", "corner"]], [tf.shape(spacing_mm)[0], 1])
    return {"mask": tf.where(corner, tf.constant(2, tf.uint8), mask), "class_names": names}


# As records of other axes, with slices of a third, and cropped to the middle two rows.
TURNED = config.Data("turned", record_orientation="RAS", record_spacing_mm=(2 / 3, 0.0, 0.0), record_size=(0, 2, 0))
GREY = config.Data("grey", kind="radiograph", colour="grey", image_size=(64, 64))


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exports")
    text, real = tf.TensorSpec([None], tf.string, "name"), tf.float32
    _save(_numbers, base / "numbers" / "2", x=tf.TensorSpec([None, 3], real, "x"), name=text)
    _save(_numbers, base / "numbers" / "10", x=tf.TensorSpec([None, 3], real, "x"), name=text)
    for name, function, rank, data in (
        ("segment", _segment, 3, None),
        ("classify", _classify, 2, None),
        ("turned", _first_columns, 3, TURNED),
        ("grey", _classify, 2, GREY),
    ):
        image = tf.TensorSpec([None] * (rank + 1) + [1], real, "image")
        spacing = tf.TensorSpec([None, rank], real, "spacing_mm")
        _save(function, base / name / "1", data, image=image, spacing_mm=spacing)
    return base


@pytest.fixture(scope="session")
def loaded(exports: Path) -> dict[str, models.Model]:
    return {name: models.load(exports / name) for name in MODELS}


@pytest.fixture(scope="session")
def address(loaded: dict[str, models.Model]) -> Iterator[str]:
    started, port = server.start(loaded, "127.0.0.1", 0, workers=2, max_message_bytes=MAX_MESSAGE_BYTES)
    yield f"127.0.0.1:{port}"
    started.stop(None).wait()
