"""Segmentation's answer on the image's own grid, and its figures."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import prepare
from radkit.errors import UserError
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.losses import masks
from radkit.tasks import segmentation, task
from tests import conftest

VOLUME = config.Data(
    dataset="v", mask_labels=conftest.BLOBS, image_size=(8, 12, 12), size_multiple=4, normalise="none"
)  # fmt: skip
TASK = segmentation.TASK


def knowing(truth: np.ndarray, data: config.Data) -> Any:
    """A network that knows the truth: on the network's grid, as training's masks are made."""

    def network(image: tf.Tensor, training: bool) -> tf.Tensor:
        assert not training
        mask = tf.constant(truth[None, ..., None])
        # Made as the image was: resampled and padded by the same place.
        spatial = tf.zeros([1, *truth.shape, 1])
        _, place = prepare.prepare(spatial, network.spacing, data)
        onto = prepare.resize(mask, place.scaled, nearest=True)
        onto, _ = prepare.pad(tf.cast(onto, tf.float32), place, data)
        assert onto.shape == image.shape
        return 20.0 * tf.one_hot(tf.cast(onto[..., 0], tf.int32), len(data.mask_labels) + 1)

    return network


@pytest.mark.parametrize("sizes", [(7, 11, 13), (8, 12, 12), (21, 17, 30), (1, 40, 5)])
@pytest.mark.parametrize("spacing", [(), (0.5, 0.5, 0.5), (1.3, 0.8, 0.9)])
def test_a_perfect_network_answers_on_the_images_grid(sizes: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    data = dataclasses.replace(VOLUME, spacing_mm=spacing)
    stored, mask = conftest.blob(sizes, 1)
    own = tf.constant([(1.3, 0.8, 0.9)], tf.float32)
    network = knowing(mask, data)
    network.spacing = own
    image = tf.constant(stored[None, ..., None], tf.float32)
    found = task.answer(network, TASK, data, image, own)
    assert found["mask"].shape == (1, *sizes)
    assert found["mask"].dtype == tf.uint8
    assert found["class_names"].numpy().tolist() == [[b"shell", b"core"]]
    record = {"mask": mask[..., None], "spacing_mm": own[0].numpy()}
    case = TASK.case(record, {"mask": found["mask"][0].numpy()}, data)
    assert case["dice"] > 0.97


def test_a_coarser_grid_still_answers_near_the_truth() -> None:
    data = dataclasses.replace(VOLUME, spacing_mm=(2.0, 2.0, 2.0))
    stored, mask = conftest.blob((30, 33, 29), 2)
    network = knowing(mask, data)
    network.spacing = tf.constant([(1.0, 1.0, 1.0)])
    found = task.answer(network, TASK, data, tf.constant(stored[None, ..., None], tf.float32), network.spacing)
    case = TASK.case({"mask": mask[..., None], "spacing_mm": (1, 1, 1)}, {"mask": found["mask"][0].numpy()}, data)
    assert case["dice"] > 0.85


def case_of(reference: list[int], answer: list[int], **more: Any) -> dict[str, Any]:
    shape = (1, 1, len(reference))
    record = {
        "mask": np.array(reference, np.uint8).reshape(*shape, 1),
        "spacing_mm": np.array([2.0, 10.0, 5.0], np.float32),
    }
    found = TASK.case(record, {"mask": np.array(answer, np.uint8).reshape(shape)}, VOLUME)
    return {"name": "test 1", "patient_id": "P1", **found, **more}


def test_a_cases_figures_worked_by_hand() -> None:
    found = case_of([0, 1, 1, 2, 2, 0], [0, 1, 0, 2, 2, 2])
    assert found["dice shell"] == pytest.approx(2 * 1 / (2 + 1))
    assert found["dice core"] == pytest.approx(2 * 2 / (2 + 3))
    assert found["dice"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert (found["ref_ml"], found["pred_ml"]) == (pytest.approx(0.4), pytest.approx(0.4))


def test_an_absent_label_that_is_not_answered_counts_as_right() -> None:
    found = case_of([0, 1, 0], [0, 1, 0])
    assert (found["dice shell"], found["dice core"], found["dice"]) == (1.0, 1.0, 1.0)
    found = case_of([0, 0, 0], [0, 0, 1])
    assert (found["dice shell"], found["dice core"], found["ref_ml"]) == (0.0, 1.0, 0.0)


def test_unlabelled_voxels_are_neither_right_nor_wrong() -> None:
    found = case_of([0, 1, 255, 255], [0, 1, 2, 0])
    assert (found["dice shell"], found["dice core"], found["ref_ml"]) == (1.0, 1.0, pytest.approx(0.1))


def test_an_image_that_nobody_labelled_is_left_out_and_counted() -> None:
    unlabelled = case_of([255, 255], [1, 0], name="test 2")
    assert math.isnan(unlabelled["dice"])
    assert math.isnan(unlabelled["dice shell"])
    cases = [unlabelled, case_of([1, 2], [1, 1], patient_id="P2"), case_of([1, 0], [1, 0], patient_id="P3")]
    summary = TASK.summary(cases, VOLUME)
    assert summary["num_unlabelled"] == 1
    assert summary["figures"]["mean Dice"]["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert TASK.headline(summary).endswith("n = 2")
    assert TASK.pick(cases, VOLUME) == [1, 2]
    assert TASK.notes is not None
    assert TASK.notes(summary) == ["Nobody labelled anything in 1 case: no figure counts them."]
    nobody = TASK.summary([unlabelled], VOLUME)
    assert math.isnan(nobody["score"])
    assert TASK.headline(nobody) == "mean Dice undefined, n = 0"
    assert TASK.pick([unlabelled], VOLUME) == [0]


def test_the_summary_is_the_mean_with_an_interval_over_patients() -> None:
    cases = [case_of([1, 0], [1, 0], patient_id=f"P{n // 2}") for n in range(6)]
    cases += [case_of([1, 0], [0, 0], patient_id=f"P{n}") for n in range(3, 5)]
    summary = TASK.summary(cases, VOLUME)
    assert (summary["num_cases"], summary["num_patients"]) == (8, 5)
    figure = summary["figures"]["Dice, shell"]
    assert figure["value"] == pytest.approx(6 / 8)
    assert 0 <= figure["low"] < figure["value"] < figure["high"] <= 1
    assert summary["score"] == summary["figures"]["mean Dice"]["value"] == pytest.approx(7 / 8)
    assert json.loads(json.dumps(task.as_json(summary), allow_nan=False)) == summary
    assert TASK.headline(summary).startswith("mean Dice 0.875 (")
    assert TASK.headline(summary).endswith("n = 8")


def test_one_patient_has_no_interval_but_a_valid_summary() -> None:
    summary = TASK.summary([case_of([1, 0], [1, 0])], VOLUME)
    text = json.dumps(task.as_json(summary), allow_nan=False)
    assert TASK.headline(json.loads(text)).startswith("mean Dice 1.000 (")


def test_the_worst_the_middle_and_the_best_are_drawn() -> None:
    cases = [{"name": f"{n}", "dice": dice} for n, dice in enumerate([0.5, 0.9, 0.1, 0.7, 0.3])]
    assert TASK.pick(cases, VOLUME) == [2, 0, 1]
    assert TASK.pick(cases[:1], VOLUME) == [0]


def test_a_radiographs_mask_has_no_volume_and_still_a_page() -> None:
    data = config.Data(dataset="r", kind="radiograph", image_size=(8, 8), mask_labels=("lung",))
    mask = np.zeros((6, 5, 1), np.uint8)
    mask[2:4, 1:3] = 1
    record = {"mask": mask, "values": mask.astype(np.float32), "spacing_mm": np.array([0.1, 0.1], np.float32)}
    answer = {"mask": mask[..., 0]}
    case = {"name": "test 1", "patient_id": "P1", **TASK.case(record, answer, data)}
    assert math.isnan(case["ref_ml"])
    assert case["dice"] == 1.0
    page = TASK.page("t", TASK.summary([case], data), [case], [task.Shown(0, record, answer)], [], data)
    assert "<html" in page
    assert "Bland-Altman" not in page


def test_a_config_without_labels_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs data\.mask_labels"):
        TASK.num_outputs(dataclasses.replace(VOLUME, mask_labels=()))


def test_a_radiograph_of_unknown_spacing_is_drawn() -> None:
    data = dataclasses.replace(VOLUME, kind="radiograph", mask_labels=("lung",), image_size=(8, 12))
    mask = np.zeros((9, 13), np.uint8)
    mask[2:6, 3:9] = 1
    spacing = np.array([np.nan, np.nan], np.float32)
    record = {"values": 100.0 * mask[..., None], "mask": mask[..., None], "spacing_mm": spacing}
    case = {"name": "test 1", "patient_id": "P1", **TASK.case(record, {"mask": mask}, data)}
    page = TASK.page("t", TASK.summary([case], data), [case], [task.Shown(0, record, {"mask": mask})], [], data)
    assert "<img" in page
    assert case["dice"] == 1.0


def test_what_a_clinical_evaluation_measures_is_in_its_cases_and_their_details() -> None:
    _, mask = conftest.blob((8, 12, 12), 1)
    record = {"mask": mask[..., None].copy(), "spacing_mm": np.array([2.0, 1.0, 1.0], np.float32)}
    record["mask"][0] = masks.UNLABELLED
    told = []
    for number, found in enumerate((mask, np.zeros_like(mask))):
        answer = {"mask": found}
        row = {"patient_id": f"P{number}", **TASK.case(record, answer, VOLUME), **TASK.detail(record, answer, VOLUME)}
        told.append(row)
    asked = TASK.asked(VOLUME)
    table = evaluated.Cases(told)
    values = {one.name: measures.value(one, table) for one in asked.measures}
    assert values["mean Dice"] == 0.5
    assert values["HD95, shell"] == pytest.approx(math.sqrt(16**2 + 2 * 12**2) / 2)
    assert told[0]["known_voxels"] == 7 * 12 * 12
    assert told[0]["ref_voxels shell"] == np.count_nonzero(mask[1:] == 1) == told[0]["pred_voxels shell"]
    assert (asked.sized_by, asked.size_unit) == ("ref_ml", "mL")
    assert asked.sized_by in told[0]


def test_a_radiographs_masks_are_sized_in_square_centimetres() -> None:
    flat = dataclasses.replace(VOLUME, image_size=(12, 12), kind="radiograph")
    mask = np.ones((4, 5), np.uint8)
    record = {"mask": mask[..., None], "spacing_mm": np.array([10.0, 2.0], np.float32)}
    told = TASK.detail(record, {"mask": mask}, flat)
    asked = TASK.asked(flat)
    assert (asked.sized_by, asked.size_unit) == ("ref_cm2", "cm2")
    assert told[asked.sized_by] == pytest.approx(4.0)
