"""A CT series and its DICOM SEG of ten organs to an image and a mask on its grid: radkit against highdicom."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import hospital_files, side_by_side

LABELS = tuple(f"Organ {number}" for number in range(1, 11))
SLICES = 100


def write(folder: Path) -> None:
    """Writes cases of a series and a segmentation."""
    from radkit.dicom import read_volumes, write_seg

    for number in range(2):
        images = folder / f"{number}" / "ct"
        hospital_files.ct_series(images, number, SLICES)
        volume = read_volumes(images)[0]
        write_seg(organs(volume.stored.shape), volume, LABELS, folder / f"{number}" / "drawn.dcm")


def organs(shape: tuple[int, ...]) -> "np.ndarray":  # noqa: F821 - numpy is loaded where it is used
    """Returns balls of several sizes, one an organ, that do not overlap."""
    import numpy as np

    slices, rows, columns = shape
    places = np.indices(shape, np.float32)
    mask = np.zeros(shape, np.uint8)
    for label in range(1, len(LABELS) + 1):
        centre = (slices * (0.2 + 0.06 * label), rows * (0.1 + 0.08 * label), columns * (0.9 - 0.08 * label))
        squares = [(axis - at) ** 2 for axis, at in zip(places, centre)]
        mask[(squares[0] * 9 + squares[1] + squares[2] < (columns * 0.03 + label) ** 2) & (mask == 0)] = label
    return mask


def radkit(folder: Path, _: Path) -> None:
    from radkit.dicom import read_seg, read_volumes

    for case in sorted(folder.iterdir()):
        volume = read_volumes(case / "ct")[0]
        _ = volume.array
        assert read_seg(case / "drawn.dcm", volume, LABELS).max() == len(LABELS)


def highdicom(folder: Path, _: Path) -> None:
    import highdicom
    import numpy as np
    import pydicom

    for case in sorted(folder.iterdir()):
        images = [pydicom.dcmread(path) for path in (case / "ct").iterdir()]
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        _ = np.stack(
            [image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept) for image in images]
        )
        mask = highdicom.seg.segread(case / "drawn.dcm").get_pixels_by_source_instance(
            [image.SOPInstanceUID for image in images], combine_segments=True, assert_missing_frames_are_empty=True
        )
        assert mask.max() == len(LABELS)


if __name__ == "__main__":
    side_by_side.main(__file__, {f.__name__: f for f in (radkit, highdicom)}, ours="radkit", corpora={"SEG": write})
