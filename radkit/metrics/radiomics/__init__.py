"""Radiomics: 107 figures of a region's grey values, shape and texture, by the definitions pyradiomics 3 made common."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from radkit.metrics.radiomics import firstorder, glcm, ngtdm, regions, shape, sizes

FAMILIES: dict[str, tuple[tuple[str, ...], Callable[[regions.Region], dict[str, float]]]] = {
    "shape": (shape.NAMES, shape.features),
    "firstorder": (firstorder.NAMES, firstorder.features),
    "glcm": (glcm.NAMES, glcm.features),
    "glrlm": (sizes.GLRLM, sizes.run_lengths),
    "glszm": (sizes.GLSZM, sizes.size_zones),
    "gldm": (sizes.GLDM, sizes.dependences),
    "ngtdm": (ngtdm.NAMES, ngtdm.features),
}


def radiomics_features(
    image: ArrayLike, mask: ArrayLike, spacing: Sequence[float], bin_width: float = 25.0
) -> dict[str, float]:
    """Returns the 107 features of a region in the image as it is: no resampling, no filter, no normalisation.

    Definitions, names and defaults are pyradiomics 3's: grey values are sorted into bins whose edges are multiples of
    the width; co-occurrence and run lengths are taken in 13 directions at distance 1 and each feature is the mean over
    the directions in which the region has neighbours at all; co-occurrence is symmetrical; zones and dependences use
    all 26 neighbours and equal levels only; surface, volume and diameters are those of a marching-cubes mesh.

    Args:
        image: Grey values, (z, y, x), any number type; HU in CT.
        mask: The region, non-zero inside, the same shape.
        spacing: Voxel size in mm, (z, y, x).
        bin_width: Width of a bin of grey values, in the image's unit.

    Returns:
        Name -> value, in the order shape (14), firstorder (18), glcm (24), glrlm (16), glszm (16), gldm (14), ngtdm
        (5); lengths in mm, areas in mm2, volumes in mm3. All nan for an empty mask; nan where a feature needs
        neighbours or extent that the region lacks (pyradiomics refuses such regions). In a region of one grey level
        skewness, kurtosis, and NGTDM's contrast, busyness, complexity and strength are 0, glcm's correlation and MCC
        1, NGTDM's coarseness 1e6, as there.

    Raises:
        UserError: Shapes that differ or are not (z, y, x), a value inside the region that is nan or infinite, a
            spacing or bin_width that is no size above 0, or a bin_width so small that it makes more than 4096 bins.

    Example:
        >>> import numpy as np
        >>> ramp = np.arange(27.0).reshape(3, 3, 3)
        >>> found = radiomics_features(ramp, np.ones((3, 3, 3)), spacing=(2.0, 1.0, 1.0), bin_width=5.0)
        >>> len(found), found["original_shape_VoxelVolume"], found["original_firstorder_Mean"]
        (107, 54.0, 13.0)

    Source: van Griethuysen et al. 2017, https://doi.org/10.1158/0008-5472.CAN-17-0339; most definitions agree with the
    Image Biomarker Standardisation Initiative, Zwanenburg et al. 2020, https://doi.org/10.1148/radiol.2020191145.
    """
    region = regions.cut_out(image, mask, spacing, bin_width)
    found: dict[str, float] = {}
    for family, (names, features) in FAMILIES.items():
        values = features(region) if region.values.size else dict.fromkeys(names, np.nan)
        found.update({f"original_{family}_{name}": float(values[name]) for name in names})
    return found
