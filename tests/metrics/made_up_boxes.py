"""Made-up references and found boxes: whole numbers, so that overlaps tie and fall on thresholds."""

from typing import Any

import numpy as np

from radkit.metrics import box_hits

Listed = list[dict[str, Any]]


def box(generator: np.random.Generator, rank: int, largest: int, reach: int = 60) -> np.ndarray:
    """Returns one box, low then high edges."""
    low = generator.integers(0, reach, rank)
    return np.concatenate([low, low + generator.integers(1, largest + 1, rank)])


def near(generator: np.random.Generator, given: np.ndarray) -> np.ndarray:
    """Returns a box whose edges are a little elsewhere."""
    rank = given.size // 2
    moved = given + generator.integers(-2, 3, given.size)
    return np.concatenate([moved[:rank], np.maximum(moved[rank:], moved[:rank] + 1)])


def split(
    seed: int, images: int, labels: int, rank: int = 2, largest: int = 40, crowds: float = 0.0
) -> tuple[Any, Any]:
    """Returns references and found boxes as `coco_map` takes them; a fifth of the images has no reference."""
    generator = np.random.default_rng(seed)
    gt: Listed = []
    dt: Listed = []
    for image in range(images):
        mine = [box(generator, rank, largest) for _ in range(generator.integers(0, 7) if image % 5 else 0)]
        for one in mine:
            label, crowd = int(generator.integers(labels)), bool(generator.random() < crowds)
            gt.append({"image": image, "label": label, "box": one.tolist(), "crowd": crowd})
            for _ in range(generator.integers(0, 3)):
                found = near(generator, one).tolist()
                dt.append({"image": image, "label": label, "box": found, "score": int(generator.integers(20)) / 20})
        for _ in range(generator.integers(0, 5)):
            found = box(generator, rank, largest).tolist()
            label = int(generator.integers(labels))
            dt.append({"image": image, "label": label, "box": found, "score": int(generator.integers(20)) / 20})
    return gt, dt


def images_of(gt: Listed, dt: Listed, images: int, rank: int = 2, per_patient: int = 2) -> list[box_hits.Boxes]:
    """Returns the same boxes image by image."""
    return [
        box_hits.Boxes(
            patient=f"patient {image // per_patient}",
            reference=np.array([one["box"] for one in gt if one["image"] == image]).reshape(-1, 2 * rank),
            labels=[one["label"] for one in gt if one["image"] == image],
            found=np.array([one["box"] for one in dt if one["image"] == image]).reshape(-1, 2 * rank),
            scores=[one["score"] for one in dt if one["image"] == image],
            found_labels=[one["label"] for one in dt if one["image"] == image],
            spacing_mm=(0.5,) * rank,
        )
        for image in range(images)
    ]
