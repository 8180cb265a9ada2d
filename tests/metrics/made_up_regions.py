"""Regions made of arithmetic, the same everywhere: what pyradiomics measured in them is in `pyradiomics_values`."""

import numpy as np

# Name: image, mask, spacing in mm (z, y, x), bin width.
Region = tuple[np.ndarray, np.ndarray, tuple[float, float, float], float]


def ragged() -> Region:
    """Whole numbers and a mask full of holes, in which every pattern of 2 x 2 x 2 voxels occurs."""
    z, y, x = np.indices((13, 14, 15))
    image = (z * z * 7 + y * x * 11 + x * 5 + (z * 31 + y * 17 + x * 13) % 23 * 9) % 301 - 150
    mask = (z * z * z * 5 + y * y * 3 * x + x * x * 7 * z + (z + 2 * y + 3 * x) ** 2) % 19 < 9
    mask[0] = mask[:, 0] = False
    return image, mask, (3.0, 0.7, 0.9), 25.0


def ellipsoid() -> Region:
    """Fractions, some below 0, rising smoothly."""
    z, y, x = np.indices((9, 12, 14))
    image = (x * 3 + y * y - z * 5) / 8 - 4.3
    mask = ((z - 4) / 3.6) ** 2 + ((y - 5.5) / 5) ** 2 + ((x - 6.5) / 6) ** 2 <= 1
    return image, mask, (1.25, 0.8, 0.8), 0.75


def single_slice() -> Region:
    """One slice thick, with two pieces that nothing joins."""
    z, y, x = np.indices((3, 8, 9))
    image = (y * 5 + x * 3) % 4 * 10.0
    mask = (z == 1) & (((y < 4) & (x < 4)) | ((y > 5) & (x > 5)))
    return image, mask, (5.0, 0.5, 0.5), 10.0


def one_level() -> Region:
    """Not a block, of one grey value."""
    z, y, x = np.indices((5, 6, 6))
    return np.full((5, 6, 6), 37.0), (z > 0) & (y > 1) & (x > 0) & (x + y < 8), (2.0, 1.0, 1.0), 25.0


def ibsi_phantom() -> Region:
    """The digital phantom of the Image Biomarker Standardisation Initiative: 74 voxels of 2 mm, levels 1, 3, 4, 6."""
    slices = (
        "14411 14611 41641 44641",
        "14411 11611 .1311 44611",
        "144.. 11111 11.11 11611",
        "144.. 11111 11111 11611",
    )
    rows = [[[0 if voxel == "." else int(voxel) for voxel in row] for row in one.split()] for one in slices]
    image = np.array(rows)
    return image, image > 0, (2.0, 2.0, 2.0), 1.0


MEASURED = {"ragged": ragged, "ellipsoid": ellipsoid, "single_slice": single_slice, "one_level": one_level}
