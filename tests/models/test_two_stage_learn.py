"""Each detector of two stages finds planted lesions of 3 to 10 pixels in images never seen."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from tests.models import planted_lesions

BACKBONE: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (16, 32), "blocks": (1, 1), "stem_size": 3},
    "levels": (1, 2),
    "hidden": (64,),
}
FIRST: dict[str, Any] = {"extra_levels": 0, "sizes": (4.0, 8.0), "ratios": (1.0,), "octaves": 2, "most": 48}
MASKS: dict[str, Any] = {"found": 16, "mask_filters": 16, "mask_depth": 2}
OF_RANK: dict[int, dict[str, Any]] = {2: {"filters": 32, "size": 5}, 3: {"filters": 24, "size": 3}}
# A volume's 3-D boxes overlap less than a radiograph's for the same shift, and an image holds few lesions.
LOSS: dict[int, dict[str, Any]] = {
    2: {"rpn_positive": 0.5, "rpn_negative": 0.3, "rpn_number": 32, "number": 32, "share": 0.5},
    3: {
        "rpn_positive": 0.35, "rpn_negative": 0.2, "rpn_number": 32,
        "positive": 0.4, "negative": 0.3, "number": 24, "share": 0.5,
    },
}  # fmt: skip
STEPS, RATE, REGIONS = {2: 400, 3: 700}, {2: 3e-3, 3: 4e-3}, 24


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 3])
def test_faster_r_cnn_finds_planted_lesions(rank: int) -> None:
    held(planted_lesions.learnt("faster_rcnn", first(rank), rank, **training(rank, LOSS[rank])))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("rank", [2, 3])
def test_mask_r_cnn_finds_planted_lesions_and_draws_them(rank: int) -> None:
    settings = {**first(rank), **MASKS, "mask_grid": {2: 7, 3: 5}[rank]}
    network = planted_lesions.trained("mask_rcnn", settings, rank, **training(rank, LOSS[rank]))
    truth, found = planted_lesions.answered(network, rank)
    held(planted_lesions.measured(truth, list(found["boxes"]), list(found["scores"])))
    drawn, filled = drawings(truth, found)
    assert drawn >= 0.75
    assert drawn > filled + 0.05  # better than to call all of the box lesion


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("rank", [2, 3])
def test_fast_r_cnn_tells_lesions_among_given_regions(rank: int) -> None:
    own = {key: value for key, value in LOSS[rank].items() if not key.startswith("rpn")}
    said = {**training(rank, own), "rate": 3e-3, "steps": {2: STEPS[2], 3: 1600}[rank]}
    held(planted_lesions.learnt("fast_rcnn", {**BACKBONE, **OF_RANK[rank]}, rank, regions, **said))


def first(rank: int) -> dict[str, Any]:
    """Returns a detector's settings but for its masks."""
    return {**BACKBONE, **FIRST, **OF_RANK[rank], "before": {2: 150, 3: 100}[rank]}


def training(rank: int, loss_settings: dict[str, Any]) -> dict[str, Any]:
    """Returns how it is trained."""
    return {"steps": STEPS[rank], "rate": RATE[rank], "loss_settings": loss_settings}


def held(figures: tuple[float, float]) -> None:
    """Holds mAP50 and the sensitivity at 1 false positive an image against what is promised."""
    assert figures[0] >= 0.9, figures
    assert figures[1] >= 0.9, figures


def regions(image: np.ndarray, _: planted_lesions.Truth) -> list[np.ndarray]:
    """Returns the image and what stands out of it: boxes around its bright and dark parts, each in two sizes."""
    rank = image.ndim - 2
    boxes = np.zeros((len(image), REGIONS, 2 * rank), np.float32)
    for number, one in enumerate(image[..., 0]):
        smooth, found = ndimage.uniform_filter(one, 3), []
        for sign in (1, -1):
            for part in ndimage.find_objects(ndimage.label(sign * smooth > 0.4)[0]):
                low, high = (np.array([getattr(axis, end) for axis in part]) for end in ("start", "stop"))
                found += [[*(low - wider), *(high + wider)] for wider in (0, 1)]
        found.sort(key=lambda box: -np.prod(np.subtract(box[rank:], box[:rank])))
        boxes[number, : len(found[:REGIONS])] = np.reshape(found[:REGIONS], (-1, 2 * rank))
    return [image, boxes]


def drawings(truth: planted_lesions.Truth, found: dict[str, np.ndarray]) -> tuple[float, float]:
    """Returns the mean IoU of the masks of found lesions with the true ones, on the masks' grid; and of whole boxes."""
    drawn, filled = [], []
    for number, mask in enumerate(truth["mask"][..., 0]):
        for box, label in zip(truth["boxes"][number], truth["labels"][number]):
            same = (found["found_labels"][number] == label) & (found["found_scores"][number] > 0.5)
            overlaps = np.array([overlap(box, other) for other in found["found_boxes"][number]]) * same
            if label < 0 or overlaps.max() < 0.5:
                continue
            best = overlaps.argmax()
            logits = found["mask_logits"][number, best, ..., label]
            wanted = cut(mask == label + 1, found["found_boxes"][number, best], logits.shape)
            drawn.append((wanted & (logits > 0)).sum() / (wanted | (logits > 0)).sum())
            filled.append(wanted.mean())
    assert len(drawn) > 20
    return float(np.mean(drawn)), float(np.mean(filled))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    rank = len(a) // 2
    shared = np.maximum(np.minimum(a, b)[rank:] - np.maximum(a, b)[:rank], 0).prod()
    return float(shared / max((a[rank:] - a[:rank]).prod() + (b[rank:] - b[:rank]).prod() - shared, 1e-9))


def cut(mask: np.ndarray, box: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Returns the mask at the middles of a grid's cells, the grid filling the box."""
    rank = mask.ndim
    along = [
        np.clip(low + (np.arange(cells) + 0.5) / cells * (high - low), 0, extent - 1e-3).astype(int)
        for low, high, cells, extent in zip(box[:rank], box[rank:], size, mask.shape)
    ]
    return mask[np.ix_(*along)]
