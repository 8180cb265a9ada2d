"""Masks of five readers made one by STAPLE: radkit against SimpleITK."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import segmentations, side_by_side

SHAPE = (64, 256, 256)


def write(folder: Path) -> None:
    """Writes the readers' masks of two cases: an organ whose border each draws somewhat otherwise."""
    import numpy as np
    from scipy import ndimage

    for case in range(2):
        random = np.random.default_rng(case)
        organ = segmentations.organs(SHAPE) > 0
        distance = ndimage.distance_transform_edt(organ) - ndimage.distance_transform_edt(~organ)
        smooth = [ndimage.gaussian_filter(random.normal(size=SHAPE), 3) * 60 for _ in range(5)]
        (folder / f"{case}").mkdir()
        np.save(
            folder / f"{case}" / "readers.npy", np.stack([distance + noise > 0 for noise in smooth]).astype(np.uint8)
        )


def radkit(folder: Path, _: Path) -> None:
    import numpy as np

    from radkit.metrics import consensus

    for case in sorted(folder.iterdir()):
        assert 0 < consensus.staple(list(np.load(case / "readers.npy")))["n_voxels_p50"] < np.prod(SHAPE)


def simpleitk(folder: Path, _: Path) -> None:
    import numpy as np
    import SimpleITK

    for case in sorted(folder.iterdir()):
        images = [SimpleITK.GetImageFromArray(mask) for mask in np.load(case / "readers.npy")]
        found = SimpleITK.GetArrayFromImage(SimpleITK.STAPLE(images, 1.0))
        assert 0 < (found >= 0.5).sum() < np.prod(SHAPE)


if __name__ == "__main__":
    workers = {f.__name__: f for f in (radkit, simpleitk)}
    side_by_side.main(__file__, workers, ours="radkit", corpora={"STAPLE, 5 readers": write})
