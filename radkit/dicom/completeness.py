"""What a series says of its own numbers of images: files that did not arrive, also where no gap in the slices tells."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import attributes
from radkit.dicom.frames import Frame

# Where a header tells how many slices one volume has: keyword, or private creator, group and element.
_NUM_SLICES = (
    "NumberOfSlices",
    ("GEMS_RELA_01", 0x0021, 0x4F),  # locations in acquisition
    ("Philips Imaging DD 001", 0x2001, 0x18),  # number of slices MR
)


def of_series(instances: Sequence[tuple[Path, Dataset]]) -> list[str]:
    """Finds what InstanceNumber and ImagesInAcquisition lack.

    Args:
        instances: The series' files with pixels, each once.
    """
    numbers = sorted({n for _, dataset in instances if (n := _whole(dataset, "InstanceNumber")) is not None})
    findings = []
    if len(numbers) == len(instances) > 1:
        before = numbers[0] - 1 if 0 < numbers[0] - 1 <= len(numbers) else 0  # a series may be numbered from 1001 on
        if lacking := before + numbers[-1] - numbers[0] + 1 - len(numbers):
            findings.append(
                f"InstanceNumber runs to {numbers[-1]} and lacks {lacking} of its numbers: files may be missing"
            )
    told = {_whole(dataset, "ImagesInAcquisition") or 0 for _, dataset in instances}
    there = sum(_whole(dataset, "NumberOfFrames") or 1 for _, dataset in instances)
    if len(told) == 1 and there < max(told):
        findings.append(f"ImagesInAcquisition is {max(told)}, {there} images are there: files may be missing")
    return findings


def of_volume(frames: Sequence[Frame]) -> list[str]:
    """Finds a number of slices other than the header tells, and InstanceNumber that leaps along the slices.

    Args:
        frames: In the order of their positions.
    """
    findings = []
    told = {_num_slices(frame.dataset) for frame in (frames[0], frames[-1])}
    if len(told) == 1 and len(frames) < max(told):
        findings.append(f"the header tells of {max(told)} slices, {len(frames)} are there: slices may be missing")
    numbers = [_whole(frame.dataset, "InstanceNumber") for frame in frames]
    given = [number for number in numbers if number is not None]
    if len(set(given)) == len(frames) > 2:
        steps = np.sign(np.diff(given))
        if abs(int(steps.sum())) != len(steps):
            findings.append("InstanceNumber does not rise or fall along the slices; their order is by position")
    return findings


def _num_slices(dataset: Dataset) -> int:
    for where in _NUM_SLICES:
        found = _whole(dataset, where) if isinstance(where, str) else _private(dataset, *where)
        if found is not None:
            return found
    return 0


def _private(dataset: Dataset, creator: str, group: int, element: int) -> int | None:
    try:
        return int(dataset.private_block(group, creator)[element].value)
    except (KeyError, TypeError, ValueError):
        return None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    try:
        found = attributes.text(dataset, keyword)
        return int(found) if found else None
    except (attributes.NotDicom, ValueError):
        return None
