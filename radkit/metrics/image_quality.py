"""How near a restored or reconstructed image is to its reference."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from radkit.errors import UserError

_SIGMA, _TRUNCATE = 1.5, 3.5
_RADIUS = int(_TRUNCATE * _SIGMA + 0.5)


def image_quality(ref: ArrayLike, test: ArrayLike, data_range: float) -> dict[str, float]:
    """Returns PSNR, SSIM, NRMSE and MSE of an image against its reference.

    Args:
        ref: Reference, (z, y, x) or (y, x), any unit.
        test: Image to judge, the same shape and unit.
        data_range: Span of the values that count, in their unit: 255 for 8 bits, the window's width for CT. PSNR and
            SSIM mean nothing without it and compare only between images given the same one.

    Returns:
        psnr: 10 log10(data_range^2 / mse) in dB; inf for equal images.
        ssim_gaussian: Mean structural similarity, windows weighted by a Gaussian of 1.5 voxels cut at radius 5,
            population covariance, K1 0.01, K2 0.03, the outer 5 voxels left out; 3-D windows for (z, y, x). nan when a
            side is shorter than the window's 11 voxels.
        nrmse: Root of the summed squared differences over the reference's norm; nan for a reference of zeros.
        mse: Mean squared difference.
        All are nan for images without voxels.

    Raises:
        UserError: Differing shapes, neither 2-D nor 3-D, values that are not finite, or data_range <= 0.

    Example:
        >>> round(image_quality([[0, 10]], [[0, 9]], data_range=10)["psnr"], 2)
        23.01

    Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861; conventions of scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)` and
    `normalized_root_mse(normalization="euclidean")`.
    """
    reference, image = _image("ref", ref), _image("test", test)
    if reference.shape != image.shape:
        raise UserError(f"ref and test must have one shape, not {reference.shape} and {image.shape}")
    if not 0 < data_range < math.inf:
        raise UserError(f"data_range must be the span of the values, > 0, not {data_range!r}")
    if not reference.size:
        return dict.fromkeys(("psnr", "ssim_gaussian", "nrmse", "mse"), math.nan)
    mse = float(np.mean((reference - image) ** 2))
    power = float(np.mean(reference**2))
    return {
        "psnr": 20 * math.log10(data_range) - 10 * math.log10(mse) if mse else math.inf,
        "ssim_gaussian": _ssim(reference, image, float(data_range)),
        "nrmse": math.sqrt(mse / power) if power else math.nan,
        "mse": mse,
    }


def _image(name: str, values: ArrayLike) -> np.ndarray:
    try:
        image = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be an image of numbers: {error}") from error
    if image.ndim not in (2, 3):
        raise UserError(f"{name} must be an image (z, y, x) or (y, x), not of shape {image.shape}; give one at a time")
    if not np.isfinite(image).all():
        raise UserError(f"{name} must be finite, but {int((~np.isfinite(image)).sum())} of {image.size} voxels are not")
    return image


def _ssim(reference: np.ndarray, image: np.ndarray, data_range: float) -> float:
    """Returns the mean structural similarity, eq. 13 of Wang et al., over windows that lie inside the image."""
    if min(reference.shape) < 2 * _RADIUS + 1:
        return math.nan
    mean_ref, mean_image = _smooth(reference), _smooth(image)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product = mean_ref * mean_image
    squares = mean_ref**2 + mean_image**2
    covariance = _smooth(reference * image) - product
    variances = _smooth(reference**2 + image**2) - squares
    return float(np.mean((2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))))


def _smooth(image: np.ndarray) -> np.ndarray:
    """Returns the Gaussian mean around each voxel whose window lies inside the image."""
    whole = ndimage.gaussian_filter(image, sigma=_SIGMA, truncate=_TRUNCATE)
    return np.asarray(whole)[(slice(_RADIUS, -_RADIUS),) * image.ndim]
