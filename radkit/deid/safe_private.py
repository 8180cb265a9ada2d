"""The private elements that are known to identify nobody.

Source: DICOM PS3.15 Table E.3.10-1; `generate_tables.py` makes `safe_private.json`.
"""

import functools
import json
from pathlib import Path


def vr(creator: str, group: int, low: int) -> str | None:
    """Returns a safe private element's VR, or None when the table does not list the element.

    Args:
        creator: The block's private creator; padding does not count.
        group: The group, odd.
        low: The element's low byte; the high byte is whichever block the creator reserved.

    >>> vr("Philips PET Private Group ", 0x7053, 0x09), vr("Philips PET Private Group", 0x7053, 0x0A)
    ('DS', None)
    """
    return _elements().get((creator.strip(" \0"), group, low))


def knows(creator: str, group: int) -> bool:
    """Tells whether any element of a creator's is listed in a group: then its name is the standard's own words."""
    return (creator.strip(" \0"), group) in _creators()


def count() -> int:
    """Returns how many elements the table lists."""
    return len(_elements())


@functools.cache
def _creators() -> frozenset[tuple[str, int]]:
    return frozenset((creator, group) for creator, group, _ in _elements())


@functools.cache
def _elements() -> dict[tuple[str, int, int], str]:
    read = json.loads(Path(__file__).with_name("safe_private.json").read_text(encoding="utf-8"))
    return {
        # Some rows name no VR, and two name OW/OB.
        (block[5:], int(block[:4], 16), int(low, 16)): named.split("/")[0] or "UN"
        for block, elements in read["elements"].items()
        for low, named in elements.items()
    }
