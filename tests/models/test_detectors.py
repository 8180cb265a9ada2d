"""Every detector of the folder does all that a detector must do, by being there."""

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import folder, losses, models
from radkit.inference import detections

FILES = [name for name in folder.names("radkit.models") if folder.find("radkit.models", name, "TASK") == "detection"]
EVERY = [(name, rank) for name in FILES for rank in models.ranks(name)]
# Of three axes all takes longer.
AT_ONCE = [pytest.param(*pair, marks=pytest.mark.slow) if pair[1] == 3 else pair for pair in EVERY]


def of_rank(name: str, rank: int, *more: int) -> Any:
    """Returns a case; those of volumes are `long`."""
    return pytest.param(name, rank, *more, marks=[pytest.mark.long] * (rank == 3))


# Odd, so that no stride divides them, and the same sizes for another image of the served network.
ODD = {2: (37, 42), 3: (11, 25, 18)}
EVEN = {2: (32, 32), 3: (16, 16, 16)}
CLASSES, PROPOSALS = 2, 12
WITH_BACKGROUND = ("ssd", "faster_rcnn", "fast_rcnn", "mask_rcnn")
STAGES = ("anchors", "deltas", "boxes")


def build(name: str, rank: int, *, channels: int = 1, seed: int = 0, sizes: tuple[int, ...] = ()) -> keras.Model:
    keras.utils.set_random_seed(seed)
    small = folder.find("radkit.models", name, "SMALL")
    shape = (*(sizes or (None,) * rank), channels)
    return models.build(name, input_shape=shape, num_classes=CLASSES, **small)


def made_up_boxes(rank: int, images: int, count: int, sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Returns (images, count, 2 * rank) float32 boxes within the image, 2 to 8 pixels a side."""
    random = np.random.default_rng(seed)
    sides = random.uniform(2, 8, (images, count, rank))
    low = random.uniform(0, 1, (images, count, rank)) * (np.array(sizes) - sides)
    return np.concatenate([low, low + sides], -1).astype(np.float32)


def batch(network: keras.Model, images: int = 2, sizes: tuple[int, ...] = ()) -> Any:
    """Returns what the network is given: the image, and the proposals of one that takes them."""
    rank = len(network.inputs[0].shape) - 2
    sizes = sizes or ODD[rank]
    random = np.random.default_rng(0)
    given = []
    for tensor in network.inputs:
        if len(tensor.shape) == rank + 2:
            given.append(random.normal(size=(images, *sizes, tensor.shape[-1])).astype(np.float32))
        else:
            given.append(made_up_boxes(rank, images, tensor.shape[1] or PROPOSALS, sizes))
    return given if len(given) > 1 else given[0]


def truth(name: str, rank: int, count: int, images: int = 2, sizes: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Returns boxes of both classes with their labels, and masks where they are learned."""
    sizes, random = sizes or ODD[rank], np.random.default_rng(1)
    found = {
        "boxes": made_up_boxes(rank, images, count, sizes),
        "labels": random.integers(CLASSES, size=(images, count)).astype(np.int32),
    }
    if name == "mask_rcnn":
        found["mask"] = random.integers(1 + CLASSES, size=(images, *sizes, 1)).astype(np.uint8)
    return found


def cost(name: str, told: dict[str, np.ndarray], outputs: dict[str, Any]) -> Any:
    """Returns the loss that the network learns by, (batch,)."""
    file = importlib.import_module(f"radkit.models.{name}")
    return losses.chosen("detection", file.LOSS, getattr(file, "LOSS_SETTINGS", {}))(told, outputs)


def expected(name: str, found: dict[str, Any], rank: int, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all that the detector may answer, without the batch."""
    places, loss = found["anchors"].shape[1], folder.find("radkit.models", name, "LOSS")
    shapes: dict[str, tuple[int, ...]] = {key: (places, 2 * rank) for key in STAGES}
    shapes |= {"logits": (places, CLASSES + (loss in WITH_BACKGROUND)), "scores": (places, CLASSES)}
    shapes |= {"levels": (places,)} if loss not in WITH_BACKGROUND[1:] else {}
    shapes |= {"quality": (places,)} if loss in ("fcos", "yolox") else {}
    shapes |= {"segmentation": (*sizes, 1 + CLASSES)} if loss == "retina_unet" else {}
    if loss in ("faster_rcnn", "mask_rcnn"):
        first = found["rpn_anchors"].shape[1]
        shapes |= {f"rpn_{key}": (first, 2 * rank) for key in STAGES}
        shapes |= {"rpn_levels": (first,), "rpn_logits": (first, 1)}
    if loss == "mask_rcnn":
        many, size = found["found_boxes"].shape[1], tuple(found["mask_logits"].shape[2:-1])
        assert len(size) == rank
        shapes |= {"found_boxes": (many, 2 * rank), "found_scores": (many,), "found_labels": (many,)}
        shapes |= {"mask_logits": (many, *size, CLASSES)}
    return shapes


def check(name: str, found: dict[str, Any], rank: int, sizes: tuple[int, ...], images: int = 2) -> None:
    """Holds an answer against what `radkit.models.box_heads` promises."""
    assert {key: tuple(value.shape) for key, value in found.items()} == {
        key: (images, *shape) for key, shape in expected(name, found, rank, sizes).items()
    }
    whole = ("levels", "rpn_levels", "found_labels")
    assert {key: value.dtype.name for key, value in found.items()} == {
        key: "int32" if key in whole else "float32" for key in found
    }
    for key, value in found.items():
        assert np.isfinite(value).all(), key
    assert float(np.min(found["scores"])) >= 0
    assert float(np.max(found["scores"])) <= 1
    assert float(np.ptp(found["scores"])) > 0


@pytest.mark.parametrize(("name", "rank"), AT_ONCE)
def test_every_detector_answers_boxes_of_all_its_places(name: str, rank: int) -> None:
    network = build(name, rank)
    given = batch(network)
    found = network(given)
    check(name, found, rank, ODD[rank])
    alone = network([one[:1] for one in given] if isinstance(given, list) else given[:1])
    for key, value in alone.items():  # nothing depends on the other images of a batch
        np.testing.assert_allclose(value[0], found[key][0], rtol=1e-3, atol=1e-3, err_msg=key)
    if "rpn_anchors" not in found and "levels" in found:
        levels = np.array(found["levels"][0])
        assert levels[0] == 0
        assert set(np.diff(levels)) <= {0, 1}  # one level after the other, the finest first
    for count in (0, 1):
        value = np.array(cost(name, truth(name, rank, count), found))
        assert value.shape == (2,)
        assert np.isfinite(value).all()
        assert (value > 0).all(), f"{count} boxes have the loss {value}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank", "channels"), [of_rank(*pair, {2: 1, 3: 3}[pair[1]]) for pair in EVERY])
def test_a_step_lowers_the_loss_with_boxes_and_without(name: str, rank: int, channels: int) -> None:
    network = build(name, rank, channels=channels)
    given, started = batch(network), network.get_weights()

    @tf.function(reduce_retracing=True, autograph=False)
    def slope(boxes: Any, labels: Any, mask: Any) -> Any:
        told = {"boxes": boxes, "labels": labels, "mask": mask}
        told = told if name == "mask_rcnn" else {"boxes": boxes, "labels": labels}
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cost(name, told, network(given, training=True)))
        weights = [weight.value for weight in network.trainable_variables]
        return loss, tape.gradient(loss, weights)

    for count in (0, 5):
        network.set_weights(started)
        told = truth(name, rank, count)
        asked = (told["boxes"], told["labels"], told.get("mask", np.zeros(1, np.uint8)))
        before, gradients = slope(*asked)
        assert np.isfinite(before)
        assert before > 0
        paired = list(zip(gradients, network.trainable_variables, strict=True))
        assert [weight.path for gradient, weight in paired if gradient is None] == []
        assert max(float(np.abs(gradient).max()) for gradient in gradients) > 0
        optimizer = keras.optimizers.AdamW(1e-3)
        optimizer.apply(gradients, network.trainable_variables)
        assert slope(*asked)[0] < before
    told = truth(name, rank, 500)
    assert np.isfinite(slope(told["boxes"], told["labels"], told.get("mask", asked[2]))[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank", "channels"), [of_rank(*pair, {2: 3, 3: 1}[pair[1]]) for pair in EVERY])
def test_every_detector_is_kept_and_served(name: str, rank: int, channels: int, tmp_path: Path) -> None:
    network = build(name, rank, channels=channels)
    for weight in network.weights:
        if "logits" in weight.path and "kernel" in weight.path:
            weight.assign(30 * weight)  # untrained it says the same nearly everywhere
    given = batch(network)
    network.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    found, kept = network(given), again(given)
    for key in found:
        np.testing.assert_array_equal(kept[key], found[key], err_msg=key)

    # Low: an untrained YOLOX answers the product of two priors of 0.01.
    whole = detections.model(network, most_detections=20, score_threshold=1e-5)
    whole.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    for images, sizes in ((2, ODD[rank]), (3, EVEN[rank])):
        given = batch(network, images, sizes)
        wanted, answered = whole(given), served.serve(given)
        assert set(answered) == set(wanted)
        assert {"boxes", "scores", "labels", "count"} <= set(answered)
        assert tuple(answered["boxes"].shape) == (images, 20, 2 * rank)
        assert np.min(answered["count"]) > 0
        np.testing.assert_array_equal(answered["count"], wanted["count"])
        np.testing.assert_array_equal(answered["labels"], wanted["labels"])
        for key in ("boxes", "scores"):
            np.testing.assert_allclose(answered[key], wanted[key], rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(np.sum(np.array(answered["labels"]) >= 0, axis=1), answered["count"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [of_rank(*pair) for pair in EVERY])
def test_boxes_stay_exact_in_mixed_precision(name: str, rank: int, keras_alone: None) -> None:
    network = build(name, rank)
    given = batch(network)
    found = network(given)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mixed = build(name, rank)
    mixed.set_weights(network.get_weights())
    rounded = mixed(given)
    check(name, rounded, rank, ODD[rank])
    assert {layer.compute_dtype for layer in mixed._flatten_layers()} >= {"bfloat16", "float32"}
    first = "rpn_anchors" if "rpn_anchors" in found else "anchors"
    np.testing.assert_array_equal(rounded[first], found[first])
    first = first.replace("anchors", "logits")
    assert np.abs(rounded[first] - found[first]).max() < 0.15 * max(1.0, np.ptp(found[first]))
    assert np.isfinite(cost(name, truth(name, rank, 5), rounded)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [pair for pair in EVERY if pair[1] == 2])
def test_of_fixed_sizes_a_step_compiles_for_accelerators(name: str, rank: int) -> None:
    network = build(name, rank, sizes=EVEN[rank])
    given, told = batch(network, sizes=EVEN[rank]), truth(name, rank, 3, sizes=EVEN[rank])

    @tf.function(jit_compile=True, autograph=False)
    def compiled(told: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cost(name, told, network(given, training=True)))
        return loss, tape.gradient(loss, [weight.value for weight in network.trainable_variables])

    loss, _ = compiled({key: tf.constant(value) for key, value in told.items()})
    np.testing.assert_allclose(loss, np.mean(cost(name, told, network(given, training=True))), rtol=1e-2)
