"""Public sets of pictures (PNG, JPEG, TIFF, BMP): images below a folder, perhaps a folder of masks with equal names."""

from collections.abc import Mapping
from pathlib import Path

from radkit import config
from radkit.data import public_cases
from radkit.data.public_cases import Asked, Found
from radkit.data.sources import Source
from radkit.dicom import foreign
from radkit.errors import UserError

_IMAGES = ("images", "image", "imgs", "img", "imagestr")
_MASKS = ("masks", "mask", "labels", "label", "labelstr", "segmentations", "lung_masks", "annotations")
_AFTER = ("_mask", "-mask", "_seg", "_label")  # what some sets put behind a mask's name


def find(asked: Asked, data: config.Data) -> Found:
    """Returns what a folder of pictures holds.

    Raises:
        UserError: The config asks for masks, and there is no folder of them.
    """
    masks = asked.masks or public_cases.subfolder(asked.folder, _MASKS)
    found = Found(images=images_of(asked.folder, masks))
    if not data.mask_labels:
        return found
    if masks is None:
        raise UserError(
            "data.mask_labels asks for masks, and no folder of --input is named masks or labels; name it with --masks"
        )
    names = public_cases.value_names(asked, data)  # white alone is the first of them to its reader
    drawn = public_cases.find(masks, (*foreign.PICTURES, *foreign.STACKS))
    pairs, found.homeless = paired(found.images, drawn)
    found.drawn = {name: (Source(path, "image", names=names),) for name, path in pairs.items()}
    return found


def images_of(folder: Path, masks: Path | None) -> dict[str, Path]:
    """Returns the pictures of the folder for images, or of all folders but the masks'."""
    inner = public_cases.subfolder(folder, _IMAGES) or folder
    found = public_cases.find(inner, foreign.PICTURES)
    if masks is None or not masks.is_relative_to(inner):
        return found
    return {name: path for name, path in found.items() if not path.is_relative_to(masks)}


def paired(images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[dict[str, Path], int]:
    """Returns each image's mask by the image's name, and how many masks are of no image.

    Raises:
        UserError: Two masks are of one image, or a mask could be of several.
    """
    by_file: dict[str, list[str]] = {}
    for name in images:
        by_file.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, Path] = {}
    homeless = 0
    for name, path in masks.items():
        meant = _meant(name, images, by_file)
        if len(meant) > 1:
            raise UserError(
                f"a mask's name fits {len(meant)} images in several folders; give the masks such folders, too"
            )
        if meant and meant[0] in found:
            raise UserError("two masks bear the name of one image; leave one (several readers' come as DICOM)")
        if meant:
            found[meant[0]] = path
        homeless += not meant
    return found, homeless


def _meant(name: str, images: Mapping[str, Path], by_file: Mapping[str, list[str]]) -> list[str]:
    """Returns the images that a mask's name could mean: of the same path, or of the same file name."""
    plain = [name, *(name.removesuffix(after) for after in _AFTER if name.endswith(after))]
    same = next(([one] for one in plain if one in images), [])
    if same:
        return same
    files = [one.rpartition("/")[2] for one in plain]
    return next((by_file[one] for one in files if one in by_file), [])
