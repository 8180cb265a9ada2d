"""How often records are seen and how much they count: by label, boxes or mask."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from radkit import config
from radkit.data import convert
from radkit.data.feeding import balance, examples, places
from radkit.errors import UserError
from tests.data.feeding import made

NAMES = ("none", "mild", "severe")


def records(folder: Path, data: config.Data, told: list[dict[str, Any]]) -> list[places.Record]:
    every = [made.values(data, n, (8, 8), **one) for n, one in enumerate(told)]
    return places.find(
        made.write(folder, data, {"train": every}, 1), ("train",), convert.fields_of(data), examples.WANTED
    )


def radiographs(**settings: Any) -> config.Data:
    return config.Data("x", kind="radiograph", **settings)


def sampling(kind: str, **weights: float) -> config.Sampling:
    return config.Sampling(kind, weights=weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["class", "ordinal"])
def test_classes_are_balanced(kind: Any, tmp_path: Path) -> None:
    labels = [0] * 12 + [1] * 3 + [2]
    data = radiographs(label="l", label_kind=kind, class_names=NAMES)
    found = records(tmp_path, data, [{"label": n} for n in labels])
    weights = balance.weights(found, data, sampling("class_balanced"))
    np.testing.assert_allclose(np.bincount(labels, weights), [1, 1, 1])
    expected = compute_sample_weight("balanced", labels)
    np.testing.assert_allclose(balance.loss_weights(found, data), expected, rtol=1e-6)
    assert balance.loss_weights(found, data).mean() == pytest.approx(1)
    weighted = balance.weights(found, data, sampling("weighted", severe=5.0, none=0.0))
    assert weighted.tolist() == [0.0] * 12 + [1.0] * 3 + [5.0]
    assert balance.weights(found, data, sampling("shuffle")).tolist() == [1.0] * 16


def test_weights_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    data = radiographs(label="l", class_names=NAMES)
    found = records(tmp_path, data, [{"label": 0}] * 3)
    with pytest.raises(UserError, match="leave no training record; raise one above 0"):
        balance.weights(found, data, sampling("weighted", none=0.0))


def test_a_record_of_several_classes_counts_for_each(tmp_path: Path) -> None:
    data = radiographs(label="l", label_kind="multi_label", class_names=NAMES)
    flags = [(1, 1, 0), (1, 0, -1), (0, 0, 0), (0, -1, -1), (1, 0, 0), (1, 0, 0)]
    found = records(tmp_path, data, [{"label": np.array(one)} for one in flags])
    assert balance.classes(found, data)[:4] == [("none", "mild"), ("none",), ("",), ("",)]
    weights = balance.weights(found, data, sampling("class_balanced"))
    np.testing.assert_allclose(weights, [1 / 4 + 1, 1 / 4, 1 / 2, 1 / 2, 1 / 4, 1 / 4])
    assert balance.weights(found, data, sampling("weighted", mild=3.0, none=2.0))[:3].tolist() == [3.0, 2.0, 1.0]


def test_survival_is_balanced_by_the_event(tmp_path: Path) -> None:
    data = radiographs(label="l", label_kind="survival", event="e")
    found = records(tmp_path, data, [{"label": 3.0, "event": n} for n in (0, 0, 0, 1)])
    np.testing.assert_allclose(balance.weights(found, data, sampling("class_balanced")), [1 / 3] * 3 + [1])


def test_boxes_and_their_lesions(tmp_path: Path) -> None:
    data = radiographs(box_labels=("a", "b"))
    told = []
    for labels, ids in (([], []), ([0, 0, 1], ["x", "x", ""]), ([1, 1], ["", ""]), ([0], ["x"])):
        told.append({"boxes": np.zeros((len(labels), 4), np.float32), "box_labels": labels, "lesion_ids": ids})
    found = records(tmp_path, data, told)
    assert balance.classes(found, data) == [("",), ("a", "b"), ("b",), ("a",)]
    assert balance.weights(found, data, sampling("lesions")).tolist() == [1, 2, 2, 1]


def test_masks_and_their_lesions(tmp_path: Path) -> None:
    data = radiographs(mask_labels=("a", "b"))
    masks = np.zeros((3, 8, 8, 1), np.uint8)
    masks[1, 1, 1], masks[1, 5, 5], masks[1, 2, 2] = 1, 1, 2
    masks[2, 1:3, 1:3] = 2
    found = records(tmp_path, data, [{"mask": mask} for mask in masks])
    assert balance.classes(found, data) == [("",), ("a", "b"), ("b",)]
    assert balance.weights(found, data, sampling("lesions")).tolist() == [1, 3, 1]
    np.testing.assert_allclose(balance.weights(found, data, sampling("class_balanced")), [1, 1 + 1 / 2, 1 / 2])
