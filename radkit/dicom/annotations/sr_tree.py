"""The content tree of a structured report: items, what they are named, and what they refer to.

Real reports often miss what the standard asks of them, so an item without a name or a relationship is kept, and codes
are known by their value whichever of SNOMED's designators stands beside it (SCT, SRT, SNM3, 99SDM).

Source: DICOM PS3.3 C.17.3 (SR Document Content), 8.8 (coded entries), C.18 (content items).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pydicom
from pydicom.dataset import Dataset

from radkit.dicom import attributes

# A tree as deep as this is no report; templates reach down some ten levels.
DEEPEST = 60
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
SEGMENTATIONS = frozenset(("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"))


class Concept(NamedTuple):
    """A code: its value, scheme and meaning, empty where they are absent."""

    value: str = ""
    scheme: str = ""
    meaning: str = ""

    @property
    def known(self) -> str:
        """The value by which templates know it; empty for a private code, which may reuse their numbers."""
        return "" if self.scheme.startswith("99") and self.scheme != "99SDM" else self.value


class Image(NamedTuple):
    """A reference to an image or a segment.

    Attributes:
        instance_uid: Its SOPInstanceUID.
        frames: Numbers from 1; empty: all of them.
        is_segment: A segmentation is referred to, not an image.
    """

    instance_uid: str
    frames: tuple[int, ...]
    is_segment: bool


@dataclass(frozen=True)
class Item:
    """A content item.

    Attributes:
        kind: Its ValueType: NUM, CODE, CONTAINER, ...
        relation: Its RelationshipType to the item above.
        concept: Its name.
        dataset: Its other attributes.
        children: The items below, in order.
        reference: Of an item by reference: the place of the one it stands for, (1, 3, 2) for the second of the third of
            the root.
    """

    kind: str
    relation: str
    concept: Concept
    dataset: Dataset
    children: tuple["Item", ...]
    reference: tuple[int, ...] = ()

    def walk(self) -> Iterator["Item"]:
        """Yields the item and all below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def below(self, kind: str, *values: str) -> list["Item"]:
        """Returns its children of a kind, those named by one of these code values where any are given."""
        return [c for c in self.children if c.kind == kind and (not values or c.concept.known in values)]


def tree(dataset: Dataset) -> Item:
    """Returns a report's root; items by reference stand there as those they refer to.

    Raises:
        attributes.NotDicom: An attribute cannot be decoded.
    """
    root = _item(dataset, 0)
    return _resolved(root, root)


def _item(dataset: Dataset, depth: int) -> Item:
    if depth > DEEPEST:
        raise attributes.NotDicom(f"the content tree is more than {DEEPEST} levels deep")
    return Item(
        kind=attributes.text(dataset, "ValueType"),
        relation=attributes.text(dataset, "RelationshipType"),
        concept=concept(dataset, "ConceptNameCodeSequence"),
        dataset=dataset,
        children=tuple(_item(below, depth + 1) for below in items(dataset, "ContentSequence")),
        reference=tuple(int(n) for n in attributes.numbers(dataset, "ReferencedContentItemIdentifier") or ()),
    )


def _resolved(item: Item, root: Item) -> Item:
    return replace(item, children=tuple(_target(child, root) for child in item.children))


def _target(item: Item, root: Item) -> Item:
    """Returns what an item by reference stands for: without its own references, which might lead in a circle."""
    if not item.reference:
        return _resolved(item, root)
    found: Item | None = root if item.reference[0] == 1 else None
    for number in item.reference[1:]:
        found = found.children[number - 1] if found and 0 < number <= len(found.children) else None
    if found is None or found.kind == "CONTAINER":  # a container by reference would be counted twice
        return item
    return replace(found, relation=item.relation)


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Returns a sequence's items, none when it is absent.

    Raises:
        attributes.NotDicom: It cannot be decoded.
    """
    found = attributes.value(dataset, keyword)
    return found if isinstance(found, pydicom.sequence.Sequence) else ()


def concept(dataset: Dataset, keyword: str) -> Concept:
    """Returns the first code of a sequence of codes; an empty one when it is absent.

    Raises:
        attributes.NotDicom: It cannot be decoded.
    """
    for item in items(dataset, keyword)[:1]:
        value = next(filter(None, (attributes.text(item, k) for k in _CODE_VALUES)), "")
        return Concept(value, attributes.text(item, "CodingSchemeDesignator"), attributes.text(item, "CodeMeaning"))
    return Concept()


def image(item: Item) -> Image | None:
    """Returns what an IMAGE item refers to; None when it refers to nothing.

    Raises:
        attributes.NotDicom: It cannot be decoded.
    """
    for said in items(item.dataset, "ReferencedSOPSequence")[:1]:
        frames = attributes.numbers(said, "ReferencedFrameNumber") or ()
        is_segment = attributes.text(said, "ReferencedSOPClassUID") in SEGMENTATIONS
        is_segment = is_segment or bool(attributes.text(said, "ReferencedSegmentNumber"))
        return Image(attributes.text(said, "ReferencedSOPInstanceUID"), tuple(map(int, frames)), is_segment)
    return None


def evidence(dataset: Dataset) -> dict[str, str]:
    """Returns the images that a report says it rests on: SOPInstanceUID to SeriesInstanceUID; segmentations left out.

    Raises:
        attributes.NotDicom: It cannot be decoded.

    Source: DICOM PS3.3 C.17.2 (SR Document General), C.17.2.3.
    """
    found = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(dataset, keyword):
            for series in items(study, "ReferencedSeriesSequence"):
                for said in items(series, "ReferencedSOPSequence"):
                    if "Image Storage" in pydicom.uid.UID(attributes.text(said, "ReferencedSOPClassUID")).name:
                        uid = attributes.text(said, "ReferencedSOPInstanceUID")
                        found[uid] = attributes.text(series, "SeriesInstanceUID")
    return found
