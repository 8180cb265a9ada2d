"""Settings of sampling that the data cannot be sampled by are refused; those that go together are taken."""

import json
from typing import Any

import pytest

from radkit import config
from radkit.errors import UserError

LABELS = {"kind": "radiograph", "image_size": (8, 8), "label": "l", "class_names": ("no", "yes")}


def loaded(data: dict[str, Any], sampling: dict[str, Any], **trainer: Any) -> config.Experiment:
    """Goes the way of a config file's JSON."""
    made = config.Experiment(
        data=config.Data("x", **data),
        model=config.Model("unet"),
        task=config.Task("segmentation"),
        trainer=config.Trainer(sampling=config.Sampling(**sampling), **trainer),
    )
    return config.from_json(json.loads(json.dumps(config.to_json(made))))


@pytest.mark.parametrize(
    ("data", "sampling", "trainer", "said"),
    [
        ({"mask_labels": ("a",)}, {"foreground": 1.5}, {}, r"foreground must be a share from 0 to 1, not 1\.5"),
        ({"mask_labels": ("a",)}, {"foreground": -0.1}, {}, r"foreground must be a share from 0 to 1, not -0\.1"),
        ({}, {"foreground": 0.3}, {}, r"sampling\.foreground needs data\.mask_labels or data\.box_labels"),
        (LABELS, {"records": "lesions"}, {}, r"records='lesions' needs data\.mask_labels"),
        ({"mask_labels": ("a",)}, {"by_lesion": True}, {}, "by_lesion is of the patches"),
        ({}, {"records": "class_balanced"}, {}, "needs classes: of labels, boxes or masks"),
        (LABELS, {"records": "weighted"}, {}, "weights go with .*which needs some"),
        (LABELS, {"weights": {"yes": 2.0}}, {}, "found records='shuffle' and weights"),
        (
            LABELS,
            {"records": "weighted", "weights": {"yess": 2.0}},
            {},
            "'yess' is none of no, yes .*did you mean 'yes'",
        ),
        (LABELS, {"records": "weighted", "weights": {"yes": -1.0}}, {}, r"weights\['yes'\] must be a number from 0"),
        (LABELS, {"records": "weighted", "weights": {"yes": "x"}}, {}, r"weights\['yes'\] must be a number .* not 'x'"),
        (
            LABELS,
            {"records": "weighted", "weights": {"yes": None}},
            {},
            r"weights\['yes'\] must be a number .* not None",
        ),
        ({"mask_labels": ("a",)}, {"class_weights": "balanced"}, {}, "needs data.label of the kind class or ordinal"),
        ({}, {}, {"cache_gib": -1.0}, "trainer.cache_gib must be at least 0"),
        ({}, {}, {"most_boxes": 0}, "trainer.most_boxes must be at least 1"),
        (
            {**LABELS, "class_names": (), "label_kind": "regression"},
            {"records": "class_balanced"},
            {},
            "needs classes",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(data: dict, sampling: dict, trainer: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        loaded(data, sampling, **trainer)


@pytest.mark.parametrize(
    ("data", "sampling"),
    [
        ({"mask_labels": ("a",)}, {"foreground": 0.33, "by_lesion": True, "records": "lesions"}),
        ({"mask_labels": ("a", "b")}, {"records": "weighted", "weights": {"b": 3.0}}),
        ({"box_labels": ("a",)}, {"foreground": 1.0, "records": "class_balanced"}),
        (LABELS, {"records": "weighted", "weights": {"yes": 3.0, "no": 0.5}, "class_weights": "balanced"}),
    ],
)
def test_what_goes_together_is_taken(data: dict, sampling: dict) -> None:
    assert loaded(data, sampling).trainer.sampling == config.Sampling(**sampling)
