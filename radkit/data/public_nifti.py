"""Public sets of volumes (NIfTI, NRRD, MetaImage): a folder of images, one of label images, perhaps a dataset.json.

Layouts: Medical Segmentation Decathlon (dataset.json with `training`), nnU-Net's raw data (`case_0000.nii.gz`, one file
a channel), or folders images and labels (imagesTr and labelsTr) with equal names.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import public_cases
from radkit.data.public_cases import Asked, Found
from radkit.data.sources import Source
from radkit.dicom import foreign
from radkit.errors import UserError

DESCRIPTION = "dataset.json"
_IMAGES = ("imagestr", "images", "image", "volumes")
_LABELS = ("labelstr", "labels", "masks", "label", "mask", "segmentations")
_HELD_BACK = "imagests"
_CHANNEL = re.compile("_([0-9]{4})$")
_MODALITIES = {
    "ct": "CT", "mri": "MR", "mr": "MR", "t1": "MR", "t1w": "MR", "t1gd": "MR", "t1ce": "MR", "t2": "MR", "t2w": "MR",
    "flair": "MR", "adc": "MR", "dwi": "MR", "pet": "PT", "pt": "PT", "us": "US", "ultrasound": "US",
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """What a dataset.json says.

    Attributes:
        modality: Of all its channels; empty where it does not say one.
        names: (value, label) of the label images.
        pairs: Image and label image of each case of the Decathlon's `training`, as they stand there.
        by_channel: Whether images are one file a channel, as nnU-Net's.
    """

    modality: str = ""
    names: tuple[tuple[int, str], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    by_channel: bool = False


@dataclass
class _Files:
    """The files of a set, by case."""

    images: dict[str, list[Path]] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)


def find(asked: Asked, data: config.Data) -> Found:
    """Returns what a folder of volumes holds.

    Raises:
        UserError: It has no such layout, or names its labels otherwise than the config.
    """
    told = describe(asked.folder)
    found = Found(modality=told.modality)
    names = public_cases.value_names(asked, data, told.names) if data.mask_labels else ()
    files = _listed(asked.folder, told) if told.pairs else _lying(asked, told)
    for name, images in sorted(files.images.items()):
        if len(images) > 1:
            reason = f"the case has {len(images)} channels, one file each; one was expected"
            found.refused.append((images[0].relative_to(asked.folder).as_posix(), reason))
        else:
            found.images[name] = images[0]
    if data.mask_labels:
        found.homeless = len(files.labels.keys() - files.images.keys())
        found.drawn = {name: (Source(path, "image", names=names),) for name, path in files.labels.items()}
    held_back = public_cases.subfolder(asked.folder, (_HELD_BACK,))
    if held_back is not None and (count := len(public_cases.find(held_back, foreign.STACKS))):
        found.left_out[f"of {held_back.name}: a test set whose labels are held back"] += count
    return found


def describe(folder: Path) -> Description:
    """Returns what a folder's dataset.json says; nothing where there is none.

    Raises:
        UserError: It is no such file.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return Description()
    try:
        read = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{DESCRIPTION} is no JSON in UTF-8; mend it, or remove it to go by names alone") from error
    if not isinstance(read, dict):
        raise UserError(f"{DESCRIPTION} holds no object; an object with 'labels' and 'training' was expected")
    channels = read.get("channel_names", read.get("modality", {}))
    said = {_MODALITIES.get(str(name).lower(), "") for name in _values(channels)}
    pairs = read.get("training", [])
    return Description(
        modality=said.pop() if len(said) == 1 else "",
        names=_names(read.get("labels", {})),
        pairs=tuple(_pair(pair) for pair in pairs) if isinstance(pairs, list) else (),
        by_channel="channel_names" in read,
    )


def _values(channels: Any) -> list[Any]:
    return list(channels.values()) if isinstance(channels, dict) else [channels]


def _names(labels: Any) -> tuple[tuple[int, str], ...]:
    """Returns values and their labels: Decathlon writes {"1": "liver"}, nnU-Net {"liver": 1}."""
    if not isinstance(labels, dict):
        raise UserError(f"{DESCRIPTION}: 'labels' is no object; values with names were expected, as {{'1': 'liver'}}")
    found = []
    for one, other in labels.items():
        value, label = (one, other) if str(one).isdigit() else (other, one)
        if not (isinstance(label, str) and str(value).isdigit()):
            raise UserError(
                f"{DESCRIPTION}: a label is {other!r}; one number a label was expected (regions of several values are "
                "not read: write them as labels of their own)"
            )
        if int(value):
            found.append((int(value), label))
    return tuple(sorted(found))


def _pair(pair: Any) -> tuple[str, str]:
    if isinstance(pair, dict) and isinstance(pair.get("image"), str) and isinstance(pair.get("label"), str):
        return pair["image"], pair["label"]
    raise UserError(f"{DESCRIPTION}: 'training' must hold objects with 'image' and 'label'; the two files' paths")


def _listed(folder: Path, told: Description) -> _Files:
    """Returns the files that dataset.json lists."""
    files = _Files()
    for image, label in told.pairs:
        path, drawn = _inside(folder, image), _inside(folder, label)
        if path.name.startswith("."):
            continue
        name = _name(path)
        if name in files.images:
            raise UserError(f"{DESCRIPTION} lists an image twice (or two of one name); remove one")
        if not path.is_file():
            missing = sum(not _inside(folder, one).is_file() for one, _ in told.pairs)
            raise UserError(f"{missing} of {len(told.pairs)} images that {DESCRIPTION} lists are not there")
        files.images[name] = [path]
        if drawn.is_file():
            files.labels[name] = drawn
    return files


def _inside(folder: Path, below: str) -> Path:
    path = folder / below
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{DESCRIPTION} names a file outside its folder; paths below it were expected")
    return path


def _name(path: Path) -> str:
    ending = max((s for s in foreign.STACKS if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


def _lying(asked: Asked, told: Description) -> _Files:
    """Returns the files that lie in the folders for images and labels."""
    images = public_cases.subfolder(asked.folder, _IMAGES) or asked.folder
    labels = asked.masks or public_cases.subfolder(asked.folder, _LABELS)
    drawn = public_cases.find(labels, foreign.STACKS) if labels is not None else {}
    found = public_cases.find(images, foreign.STACKS)
    if images == asked.folder:
        aside = [f for f in (labels, public_cases.subfolder(asked.folder, (_HELD_BACK,))) if f is not None]
        found = {n: path for n, path in found.items() if not any(path.is_relative_to(folder) for folder in aside)}
    files = _Files(labels=drawn)
    if told.by_channel or _are_channels(found, drawn):
        by_case: dict[str, list[Path]] = defaultdict(list)
        for name, path in found.items():
            by_case[_CHANNEL.sub("", name)].append(path)
        files.images = dict(by_case)
    else:
        files.images = {name: [path] for name, path in found.items()}
    return files


def _are_channels(images: Mapping[str, Path], labels: Mapping[str, Path]) -> bool:
    """Tells whether images are named as nnU-Net's, `case_0000`, and their labels `case`."""
    if not images or not all(_CHANNEL.search(name) for name in images):
        return False
    return images.keys().isdisjoint(labels) and any(_CHANNEL.sub("", name) in labels for name in images)
