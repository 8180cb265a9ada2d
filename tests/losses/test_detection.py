"""Losses of boxes: against plain numpy, in all edge cases, compiled; and that each of them teaches a detector."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import losses
from radkit.boxes import coder
from radkit.errors import UserError
from radkit.losses import anchor_free, box_regression, detection
from tests.boxes import made
from tests.losses.made import sigmoid, softmax

NAMES = losses.names("detection")
CLASSES, SIZE = 2, 16


def answer(name: str, batch: int, rank: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns what a network of 16 pixels a side might say: the heads alone, and what they are offsets from."""
    random = np.random.default_rng(seed)
    cells, levels = made.cells(SIZE, (4, 8), rank)
    places = len(cells)

    def drawn(*shape: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
        return repeated(random.normal(mean, scale, shape).astype(np.float32))

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.stack([values] * batch)  # all examples alike: what differs is their boxes

    background = int(name in ("ssd", "faster_rcnn", "fast_rcnn", "mask_rcnn"))
    found = {
        "anchors": repeated(cells), "levels": repeated(levels), "logits": drawn(places, CLASSES + background, mean=-1),
        "deltas": drawn(places, 2 * rank, scale=0.3),
    }  # fmt: skip
    if name in ("fcos", "yolox"):
        found["quality"] = drawn(places)
    if "rcnn" in name:
        found |= {"rpn_anchors": repeated(cells), "rpn_logits": drawn(places, 1), "rpn_levels": repeated(levels)}
        found |= {"rpn_deltas": drawn(places, 2 * rank, scale=0.3)}
        found["anchors"][:, :3] = 0  # there were fewer proposals
    if name == "mask_rcnn":
        found |= {"found_boxes": found["anchors"][:, -4:], "mask_logits": drawn(4, *[3] * rank, CLASSES)}
        found |= {"found_scores": np.ones((batch, 4), np.float32), "found_labels": np.zeros((batch, 4), np.int32)}
    if name == "retina_unet":
        found["segmentation"] = drawn(*[SIZE] * rank, 1 + CLASSES)
    return found


LEARNED = ("logits", "deltas", "quality", "rpn_logits", "rpn_deltas", "mask_logits", "segmentation")


def completed(name: str, heads: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the whole dict of an answer: boxes and scores follow from the heads."""
    found = {**outputs, **heads}
    single = {key: tf.cast(value, tf.float32) for key, value in found.items() if key in LEARNED or "anchors" in key}
    scales = (0.1, 0.2) if name == "ssd" or "rcnn" in name else (1.0, 1.0)
    if name == "fcos":
        found["boxes"] = coder.decode_distances(tf.exp(tf.minimum(single["deltas"], 10.0)), single["anchors"])
        found["deltas"] = tf.exp(tf.minimum(single["deltas"], 10.0))
    else:
        found["boxes"] = coder.decode(single["deltas"], single["anchors"], scales)
    if "rpn_deltas" in found:
        found["rpn_boxes"] = coder.decode(single["rpn_deltas"], single["rpn_anchors"])
    scores = tf.sigmoid(single["logits"])
    found["scores"] = scores * tf.sigmoid(single["quality"])[..., None] if "quality" in found else scores
    return found


def cost(name: str, truth: dict[str, Any], outputs: dict[str, Any], dtype: str = "float32", **settings: Any) -> Any:
    """Returns the loss, and its gradient of each head."""
    heads = {key: tf.cast(outputs[key], dtype) for key in outputs if key in LEARNED}
    with tf.GradientTape() as tape:
        tape.watch(heads)
        found = losses.find("detection", name)(truth, completed(name, heads, outputs), **settings)
    return found, tape.gradient(found, heads, unconnected_gradients="zero")


def truth_of(boxes: np.ndarray, labels: np.ndarray, rank: int = 2) -> dict[str, np.ndarray]:
    mask = np.zeros((len(boxes), *[SIZE] * rank, 1), np.uint8)
    mask[:, 2:9, 2:9] = 1
    mask[:, 12:, 12:] = 255
    return {"boxes": boxes.astype(np.float32), "labels": labels, "mask": mask}


def cases(rank: int) -> dict[str, np.ndarray]:
    """Returns an example each: boxes and labels, padded to 24."""
    random = np.random.default_rng(3)
    one = np.array([[2.0] * rank + [9.0] * rank])
    lists = {
        "no box": (one[:0], []),
        "one box": (one, [1]),
        "more boxes than places": (made.boxes(random, 24, rank, SIZE), [0, 1] * 12),
        "a box outside": (one + 100, [0]),
        "nothing known": (np.array([[0.0] * rank + [SIZE] * rank]), [-2]),
        "a box and a region": (np.concatenate([one, one + 6]), [0, -2]),
        "a class box that holds nothing": (np.array([[3.0] * 2 * rank]), [0]),
        "no number": (np.array([[math.nan] * 2 * rank, [0.0] * rank + [math.inf] * rank]), [0, 1]),
        "a box as large as the image": (np.array([[0.0] * rank + [SIZE] * rank]), [1]),
        "twice the same box": (np.concatenate([one, one]), [0, 1]),
    }
    boxes = np.stack([np.pad(b, ((0, 24 - len(b)), (0, 0))) for b, _ in lists.values()])
    labels = np.stack([np.pad(np.array(v, int), (0, 24 - len(v)), constant_values=-1) for _, v in lists.values()])
    return {"names": np.array(list(lists)), "boxes": boxes, "labels": labels}


@pytest.mark.parametrize("rank", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_boxes_loss_and_gradients_are_finite_and_background_teaches(name: str, rank: int) -> None:
    made_up = cases(rank)
    truth = truth_of(made_up["boxes"], made_up["labels"], rank)
    before = {key: value.copy() for key, value in truth.items()}
    for scale, dtype in ((1.0, "float32"), (3e4, "float32"), (1.0, "bfloat16")):
        outputs = answer(name, len(truth["boxes"]), rank)
        outputs |= {key: np.sign(outputs[key]) * scale for key in outputs if key in LEARNED and scale > 1}
        found, gradients = cost(name, truth, outputs, dtype)
        assert found.shape == (len(truth["boxes"]),)
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()
        assert all(np.isfinite(tf.cast(slope, tf.float32)).all() for slope in gradients.values())
        told = dict(zip(made_up["names"], found.numpy()))
        assert told["no box"] > 0
        if scale == 1.0:
            heads = "logits" if name != "yolox" else "quality"
            slopes = dict(zip(made_up["names"], tf.cast(gradients[heads], tf.float32).numpy()))
            assert np.abs(slopes["no box"]).sum() > 0
            assert np.abs(slopes["nothing known"]).sum() == 0
            for nothing in ("a class box that holds nothing", "no number"):
                np.testing.assert_array_equal(slopes[nothing], slopes["no box"])
    assert all(np.array_equal(truth[key], before[key], equal_nan=True) for key in truth)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_500_boxes_on_few_places_are_no_trouble(name: str) -> None:
    random = np.random.default_rng(7)
    truth = truth_of(made.boxes(random, 500, 3, SIZE)[None], random.integers(0, CLASSES, (1, 500)), 3)
    found, gradients = tf.function(lambda: cost(name, truth, answer(name, 1, 3)))()
    assert np.isfinite(found).all()
    assert (found.numpy() > 0).all()
    assert all(np.isfinite(slope).all() for slope in gradients.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiled_by_xla_and_with_free_sizes_a_loss_is_the_same(name: str) -> None:
    made_up = cases(2)
    truth = {key: tf.constant(value[1:6]) for key, value in truth_of(made_up["boxes"], made_up["labels"]).items()}
    outputs = answer(name, 5)
    whole = {key: tf.constant(value) for key, value in completed(name, {}, outputs).items()}
    loss = losses.find("detection", name)
    wanted = loss(truth, whole)
    np.testing.assert_allclose(tf.function(loss, jit_compile=True)(truth, whole), wanted, rtol=2e-5)
    keep = {"mask_logits": (None, None, 3, 3, 2)}
    free = {
        key: tf.TensorSpec(keep.get(key, (*[None] * (value.ndim - 1), value.shape[-1])), value.dtype)
        for key, value in {**whole, **truth}.items()
    }
    for key in ("levels", "rpn_levels", "quality", "labels", "found_scores", "found_labels"):
        if key in free:
            free[key] = tf.TensorSpec((None, None), free[key].dtype)
    signature = [{key: free[key] for key in given} for given in (truth, whole)]
    traced = tf.function(loss, input_signature=signature)
    np.testing.assert_allclose(traced(truth, whole), wanted, rtol=2e-5)
    nothing = {**truth, "boxes": truth["boxes"][:, :0], "labels": truth["labels"][:, :0]}
    np.testing.assert_allclose(traced(nothing, whole), loss(nothing, whole), rtol=2e-5)


def smooth_l1(x: np.ndarray, beta: float) -> np.ndarray:
    return np.where(abs(x) < beta, x * x / 2 / beta, abs(x) - beta / 2)


TWO = {"anchors": [[0, 0, 4, 4], [4, 4, 8, 8], [0, 0, 2, 2]], "boxes": [[0, 0, 4, 5], [0, 0, 0, 0]], "labels": [1, -1]}


def two(logits: np.ndarray, deltas: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns truth and answer of three anchors, of which the first is the one box's."""
    anchors = np.array([TWO["anchors"]], np.float32)
    outputs = {"anchors": anchors, "logits": logits[None], "deltas": deltas[None], "levels": np.zeros((1, 3), np.int32)}
    truth = {"boxes": np.array([TWO["boxes"]], np.float32), "labels": np.array([TWO["labels"]])}
    return truth, outputs


def test_retinanet_is_focal_and_smooth_l1_over_the_boxes_places() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 2)).astype(np.float32), random.normal(0, 1, (3, 4)).astype(np.float32)
    truth, outputs = two(logits, deltas)
    wanted = np.zeros((3, 2))
    wanted[0, 1] = 1
    p = sigmoid(logits)
    right = np.where(wanted == 1, p, 1 - p)
    focal = np.where(wanted == 1, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)
    of_box = smooth_l1(deltas[0] - np.array([0, 0.125, 0, math.log(1.25)]), 1 / 9)
    found = detection.retinanet(truth, completed("retinanet", {}, outputs))
    np.testing.assert_allclose(found, [focal.sum() + of_box.sum()], rtol=1e-5)
    # Twice the box of another place: half of the sum, for they are two.
    truth["boxes"][0, 1], truth["labels"][0, 1] = [4, 4, 8, 8], 0
    wanted[1, 0] = 1
    right = np.where(wanted == 1, p, 1 - p)
    focal = np.where(wanted == 1, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)
    of_box = of_box.sum() + smooth_l1(deltas[1], 1 / 9).sum()
    found = detection.retinanet(truth, completed("retinanet", {}, outputs))
    np.testing.assert_allclose(found, [(focal.sum() + of_box) / 2], rtol=1e-5)


def test_quality_focal_asks_for_the_overlap_of_the_answer() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (3, 2)).astype(np.float32)
    truth, outputs = two(logits, np.zeros((3, 4), np.float32))
    wanted = np.zeros((3, 2))
    wanted[0, 1] = 16 / 20  # the anchor itself is answered
    p = sigmoid(logits)
    costs = (wanted - p) ** 2 * -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p))
    found = detection.retinanet(
        truth, completed("retinanet", {}, outputs), classification="quality_focal", box_weight=0.0
    )
    np.testing.assert_allclose(found, [costs.sum()], rtol=1e-5)


def test_ssd_is_cross_entropy_of_boxes_and_the_hardest_others() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 3)).astype(np.float32), random.normal(0, 1, (3, 4)).astype(np.float32)
    truth, outputs = two(logits, deltas)
    of_class = -np.log(softmax(logits))[[0, 1, 2], [2, 0, 0]]
    of_box = smooth_l1(deltas[0] - np.array([0, 0.125 / 0.1, 0, math.log(1.25) / 0.2]), 1.0).sum()
    found = detection.ssd(truth, completed("ssd", {}, outputs), ratio=1, least=1)
    np.testing.assert_allclose(found, [of_class[0] + of_class[1:].max() + of_box], rtol=1e-5)
    truth["labels"][:] = -1
    found = detection.ssd(truth, completed("ssd", {}, outputs), least=1)
    np.testing.assert_allclose(found, [(-np.log(softmax(logits))[:, 0]).max()], rtol=1e-5)


def test_multibox_is_cross_entropy_of_all_and_half_the_square_of_one_place_a_box() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 1)).astype(np.float32), random.normal(0, 1, (3, 4)).astype(np.float32)
    truth, outputs = two(logits, deltas)
    p = sigmoid(logits)[:, 0]
    of_box = ((deltas[0] - np.array([0, 0.125, 0, math.log(1.25)])) ** 2).sum() / 2
    wanted = -np.log(p[0]) - np.log(1 - p[1:]).sum() + 0.3 * of_box
    np.testing.assert_allclose(detection.multibox(truth, completed("multibox", {}, outputs)), [wanted], rtol=1e-5)


def test_fcos_is_focal_giou_by_centerness_and_centerness() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 2)).astype(np.float32), random.uniform(-1, 0, (3, 4)).astype(np.float32)
    truth, outputs = two(logits, deltas)
    truth["boxes"][0, 0] = [-3, -3, 6, 7]
    outputs["anchors"][0, 2] = [40, 40, 44, 44]
    outputs["quality"] = np.array([[0.3, -0.2, 0.1]], np.float32)
    # Middles (2, 2) and (6, 6), of which the second lies on the box's border: only the first is the box's.
    centred = math.sqrt((4 / 5) * (5 / 5))
    wanted = np.zeros((3, 2))
    wanted[0, 1] = 1
    p = sigmoid(logits)
    right = np.where(wanted == 1, p, 1 - p)
    focal = np.where(wanted == 1, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)
    distances = np.exp(deltas[0]) * 4
    box = np.array([2 - distances[0], 2 - distances[1], 2 + distances[2], 2 + distances[3]])
    inside = np.prod(np.minimum(box[2:], [6, 7]) - np.maximum(box[:2], [-3, -3]))
    union = np.prod(box[2:] - box[:2]) + 90 - inside
    hull = np.prod(np.maximum(box[2:], [6, 7]) - np.minimum(box[:2], [-3, -3]))
    giou = inside / union - (hull - union) / hull
    q = sigmoid(np.array([0.3], np.float32))[0]
    of_quality = -(centred * np.log(q) + (1 - centred) * np.log(1 - q))
    found = anchor_free.fcos(truth, completed("fcos", {}, outputs))
    np.testing.assert_allclose(found, [focal.sum() + (1 - giou) + of_quality], rtol=1e-5)


def test_yolox_is_objectness_of_all_and_class_and_box_of_those_that_are_chosen() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 2)).astype(np.float32), np.zeros((3, 4), np.float32)
    truth, outputs = two(logits, deltas)
    outputs["quality"] = quality = np.array([[0.3, -0.2, 0.1]], np.float32)
    outputs["anchors"][0, 1:] = [[40, 40, 44, 44], [50, 50, 54, 54]]
    p, q = sigmoid(logits)[0], sigmoid(quality)[0]
    fit = 16 / 20
    of_class = -(np.log(1 - p[0]) + fit * np.log(p[1]) + (1 - fit) * np.log(1 - p[1]))
    wanted = -np.log(q[0]) - np.log(1 - q[1:]).sum() + of_class + 5 * (1 - fit**2)
    np.testing.assert_allclose(anchor_free.yolox(truth, completed("yolox", {}, outputs)), [wanted], rtol=1e-5)
    more = anchor_free.yolox(truth, completed("yolox", {}, outputs), l1_weight=2.0)
    np.testing.assert_allclose(more - wanted, [2 * (0.125 + math.log(1.25))], rtol=1e-4)


def test_faster_rcnn_is_the_mean_over_samples_of_both_stages() -> None:
    random = np.random.default_rng(0)
    logits, deltas = random.normal(0, 2, (3, 3)).astype(np.float32), random.normal(0, 1, (3, 4)).astype(np.float32)
    truth, outputs = two(logits, deltas)
    outputs |= {"rpn_anchors": outputs["anchors"], "rpn_logits": logits[None, :, :1], "rpn_deltas": deltas[None]}
    p = sigmoid(logits[:, 0])
    of_box = smooth_l1(deltas[0] - np.array([0, 0.125, 0, math.log(1.25)]), 1 / 9).sum()
    first = (-np.log(p[0]) - np.log(1 - p[1:]).sum() + of_box) / 3
    of_class = -np.log(softmax(logits))[[0, 1, 2], [2, 0, 0]]
    of_box = smooth_l1(deltas[0] - np.array([0, 0.125 / 0.1, 0, math.log(1.25) / 0.2]), 1 / 9).sum()
    second = (of_class.sum() + of_box) / 3
    whole = completed("faster_rcnn", {}, outputs)
    found = losses.find("detection", "faster_rcnn")(truth, whole)
    np.testing.assert_allclose(found, [first + second], rtol=1e-5)
    alone = losses.find("detection", "fast_rcnn")(truth, whole, beta=1 / 9, number=2, share=0.5, order="hardest")
    np.testing.assert_allclose(alone, [(of_class[0] + of_class[1:].max() + of_box) / 2], rtol=1e-5)


def test_overlap_losses_have_slopes_where_boxes_are_apart() -> None:
    found = tf.Variable([[[0.0, 0.0, 2.0, 2.0]]])
    wanted = np.array([[[5, 5, 7, 7]]], np.float32)
    for name, value in (("giou", 1 + 41 / 49), ("diou", 1 + 50 / 98), ("iou", 1.0)):
        with tf.GradientTape() as tape:
            costs = box_regression.of_places(name, {"boxes": found}, wanted, tf.constant([[True]]))
        np.testing.assert_allclose(costs, [[value]], rtol=1e-6)
        assert (np.abs(tape.gradient(costs, found)).sum() > 0) == (name != "iou")
    with pytest.raises(UserError, match="box_loss 'l3' is none; there are: l1, smooth_l1"):
        box_regression.of_places("l3", {"boxes": found}, wanted, tf.constant([[True]]))


def test_centerness_is_1_in_the_middle_and_the_papers_root() -> None:
    cells = np.array([[0, 0, 4, 4], [4, 4, 8, 8], [4, 8, 8, 12]], np.float32)
    found = anchor_free.centerness(np.array([[-2, -6, 14, 18]], np.float32), cells)
    np.testing.assert_allclose(found, [math.sqrt(4 / 12 * 8 / 16), 1.0, math.sqrt(1.0 * 8 / 16)][:1] + list(found[1:]))
    assert float(found[1]) == 1.0
    np.testing.assert_allclose(anchor_free.centerness(np.array([5.5, 5.5, 6.5, 6.5], np.float32), cells)[1], 1.0)
    assert (anchor_free.centerness(np.array([[90, 90, 99, 99]], np.float32), cells).numpy() == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    # No cell overlaps the box by half.
    [(name, {"positive": 0.3, "negative": 0.3} if "rcnn" in name else {}) for name in NAMES]
    + [("retinanet", {"assigner": "atss", "box_loss": "giou", "classification": "quality_focal"})]
    + [("retinanet", {"assigner": "bipartite", "box_loss": "diou", "classification": "cross_entropy"})]
    + [
        ("fcos", {"assigner": "atss", "box_loss": "diou"}),
        ("faster_rcnn", {"order": "hardest", "box_loss": "giou", "positive": 0.3, "negative": 0.3}),
    ],
)
def test_steps_down_the_slope_find_the_box(name: str, settings: dict[str, Any]) -> None:
    truth = truth_of(np.array([[[2.0, 3, 9, 9], [0, 0, 0, 0]]]), np.array([[1, -1]]))
    outputs = answer(name, 1)
    heads = {key: tf.Variable(value) for key, value in outputs.items() if key in LEARNED}
    optimizer = tf.keras.optimizers.Adam(0.1)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = losses.find("detection", name)(truth, completed(name, heads, outputs), **settings)
        slopes = tape.gradient(found, list(heads.values()))
        optimizer.apply_gradients([(g, v) for g, v in zip(slopes, heads.values()) if g is not None])
        return found

    costs = [float(step()[0]) for _ in range(120)]
    assert costs[-1] < 0.35 * costs[0]
    whole = completed(name, heads, outputs)
    scores = tf.nn.softmax(whole["logits"])[..., 1:] if "rcnn" in name or name == "ssd" else whole["scores"]
    scores *= np.asarray(whole["anchors"][..., -1:] > 0, np.float32)  # proposals that there are
    place, label = np.unravel_index(int(tf.argmax(tf.reshape(scores, (-1,)))), scores.shape[1:])
    assert label == 1
    assert made.iou(whole["boxes"][0, place].numpy(), truth["boxes"][0, 0]) > 0.8


def test_what_does_not_go_together_is_refused() -> None:
    truth, whole = truth_of(np.zeros((1, 1, 4)), np.zeros((1, 1), int)), completed("fcos", {}, answer("fcos", 1))
    with pytest.raises(UserError, match=r"dict of 'boxes' and 'labels', not \['boxes'\]"):
        detection.retinanet({"boxes": truth["boxes"]}, whole)
    with pytest.raises(UserError, match="needs a detector's dict, not ndarray"):
        detection.ssd(truth, np.zeros(3))
    with pytest.raises(UserError, match="assigner 'best' is none; there are: max_iou, atss, bipartite"):
        detection.retinanet(truth, whole, assigner="best")
    with pytest.raises(UserError, match="assigner 'max_iou' is none; there are: centre, atss"):
        anchor_free.fcos(truth, whole, assigner="max_iou")
    with pytest.raises(UserError, match="classification 'hinge' is none"):
        detection.retinanet(truth, whole, classification="hinge")
    whole = completed("mask_rcnn", {}, answer("mask_rcnn", 1))
    with pytest.raises(UserError, match="order 'first' is none; there are: random, hardest"):
        losses.find("detection", "faster_rcnn")(truth, whole, order="first")
    with pytest.raises(UserError, match="learns masks, and the truth has none; name"):
        losses.find("detection", "mask_rcnn")({"boxes": truth["boxes"], "labels": truth["labels"]}, whole)
    with pytest.raises(UserError, match=r"boxes \(1, 1, 4\) and labels \(1, 3\)"):
        detection.ssd({"boxes": truth["boxes"], "labels": np.zeros((1, 3), int)}, whole)


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_make_no_sense_are_refused_before_anything_is_asked(name: str) -> None:
    parameters = inspect.signature(losses.find("detection", name)).parameters
    wrong = {"gamma": -1.0, "beta": -1.0, "alpha": 2.0, "ratio": float("nan")}
    wrong |= {setting: -1.0 for setting in parameters if setting.endswith("weight")}
    asked = {setting: value for setting, value in wrong.items() if setting in parameters}
    assert "box_weight" in asked
    truth, whole = truth_of(np.zeros((1, 1, 4)), np.zeros((1, 1), int)), completed(name, {}, answer(name, 1))
    for setting, value in asked.items():
        with pytest.raises(UserError, match=f"{setting} must be a number"):
            losses.find("detection", name)(truth, whole, **{setting: value})


def test_an_answer_that_lacks_something_is_refused() -> None:
    truth = {"boxes": np.zeros((1, 2, 4), np.float32), "labels": np.full((1, 2), -1)}
    with pytest.raises(UserError, match=r"this one, of \['anchors'\], lacks \['boxes', 'deltas', 'logits'\]"):
        losses.find("detection", "retinanet")(truth, {"anchors": np.zeros((1, 3, 4), np.float32)})
