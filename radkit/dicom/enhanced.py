"""Frames of enhanced instances: their places and attributes, wherever the functional groups keep them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from radkit.dicom import attributes, mosaic, multiframe, part10, scan
from radkit.dicom.frames import Frame, numbers
from radkit.dicom.geometry import GeometryError
from radkit.errors import UserError

# A fact's keyword, and the keywords that tell it, the first that has a value.
_TOLD_BY = {
    "EchoTime": ("EffectiveEchoTime", "EchoTime"),
    "InversionTime": ("InversionTimes", "InversionTime"),
    "TriggerTime": ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    "TemporalPositionIdentifier": ("TemporalPositionIndex", "TemporalPositionTimeOffset", "TemporalPositionIdentifier"),
    "AcquisitionNumber": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "AcquisitionTime": ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"),
    "ContentTime": ("FrameReferenceDateTime", "ContentTime"),
    "FrameReferenceTime": ("FrameReferenceTime",),
    "DiffusionBValue": ("DiffusionBValue",),
    "DiffusionDirectionality": ("DiffusionDirectionality",),
    "DiffusionGradientOrientation": ("DiffusionGradientOrientation",),
    "StackID": ("StackID",),
    "InStackPositionNumber": ("InStackPositionNumber",),
}  # fmt: skip
_FACTS = {fact: tuple(Tag(keyword) for keyword in keywords) for fact, keywords in _TOLD_BY.items()}
_IMAGE_TYPE, _FRAME_TYPE, _COMPONENT = Tag("ImageType"), Tag("FrameType"), Tag("ComplexImageComponent")
_INDICES = Tag("DimensionIndexValues")
_SHARED, _PER_FRAME = Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")
_DIRECTION = Tag("DiffusionGradientDirectionSequence")
# Of an ultrasound volume the place is in the volume's own axes.
_NOT_LPS = "ImagePositionVolume: the place is in the ultrasound volume's own axes, not the patient's"
_POSITION = (Tag("ImagePositionPatient"), Tag("ImagePositionVolume"))
_ORIENTATION = (Tag("ImageOrientationPatient"), Tag("ImageOrientationVolume"))
_SPACING = (Tag("PixelSpacing"),)
_WANTED = frozenset((
    _IMAGE_TYPE, _FRAME_TYPE, _COMPONENT, _INDICES, *_POSITION, *_ORIENTATION, *_SPACING,
    *(tag for tags in _FACTS.values() for tag in tags),
))  # fmt: skip
_KEYWORDS = {tag: keyword_for_tag(tag) for tag in _WANTED}

# Philips repeats a frame's classic attributes in private items. They answer last: some, as the place, are raw ones.
_PHILIPS, _PHILIPS_GROUP = "Philips MR Imaging DD 005", 0x2005
_PHILIPS_FRAME, _PHILIPS_SHARED = 0x0F, 0x0E
_REFERENCES = 0x0008  # group of macros that tell of other instances

# Dimensions of the place; what is left of the dimensions tells frames of one place apart.
_OF_PLACE = frozenset(
    Tag(keyword) for keyword in ("StackID", "InStackPositionNumber", "SliceLocation", *_POSITION, *_ORIENTATION)
)
_OF_TIME = frozenset(
    Tag(keyword)
    for keyword in (
        "TemporalPositionIndex", "TemporalPositionTimeOffset", "TemporalPositionIdentifier", "FrameReferenceDateTime",
        "FrameAcquisitionDateTime", "FrameReferenceTime", "NominalCardiacTriggerDelayTime", "TriggerTime",
    )
)  # fmt: skip

_Told = dict[BaseTag, Dataset]  # which layer answers a tag


class EnhancedError(GeometryError, UserError):
    """Functional groups that cannot be read or contradict the number of frames."""


def frames(path: Path, dataset: Dataset) -> list[Frame]:
    """Returns the frames of a multi-frame instance in stored order.

    An attribute is the frame's own, else the shared groups', else the instance's, else what Philips keeps for it in
    private items. Without functional groups it is as `multiframe.frames`.

    Args:
        path: The file.
        dataset: Its data set, pixels undecoded.

    Returns:
        Frames whose `facts` answer as classic attributes: EchoTime (ms), InversionTime, TriggerTime (ms),
        TemporalPositionIdentifier, DiffusionBValue (s/mm2), DiffusionGradientOrientation, ImageType (of the frame, with
        ComplexImageComponent), AcquisitionNumber, AcquisitionTime, ContentTime, StackID, InstanceNumber (instance and
        frame, as 3.000012), DimensionIndexValues (those that do not tell the place); empty where nothing tells.

    Raises:
        EnhancedError: There are not as many groups as frames.
        MosaicError: As `mosaic.frames`, of a single frame.
        GeometryError: A place, orientation or spacing that is not of finite numbers.
        NotDicom: An attribute cannot be read.

    Source: DICOM PS3.3 C.7.6.16, C.7.6.17.
    """
    shared = _items(dataset, _SHARED)[:1]
    items = _items(dataset, _PER_FRAME)
    if not shared and not items:
        return multiframe.frames(path, dataset)
    count = multiframe.count(dataset)
    if items and len(items) != count:
        raise EnhancedError(f"PerFrameFunctionalGroupsSequence has {len(items)} items, NumberOfFrames is {count}")
    if count == 1 and (tiles := mosaic.frames(path, dataset)) is not None:
        return tiles
    shared_own, shared_private = _layers(shared, _PHILIPS_SHARED)
    common = (*shared_own, dataset)
    below, last = _tell(common), _tell(shared_private)
    # The instance's own place is no frame's among several.
    place = _place(below if count == 1 else _tell(shared_own))
    spacing = _numbers(below, _SPACING, 2)
    facts = _facts_of(dataset, {**last, **below})
    size = (attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0))
    found = []
    for number in range(count):
        own, private = _layers(items[number : number + 1], _PHILIPS_FRAME)
        nearest, farthest = _tell(own), _tell(private)
        told = {**last, **farthest, **below, **nearest}
        position, orientation, findings = _place(nearest, *place)
        found.append(
            Frame(
                path, dataset, number, (*own, *common, *private, *shared_private), *size, position, orientation,
                _numbers(nearest, _SPACING, 2) or spacing, findings=findings,
                facts=facts(told, {*farthest, *nearest}, number) | {"ImageType": _image_type(told, farthest)},
            )
        )  # fmt: skip
    return found


def _place(
    told: _Told,
    position: tuple[float, ...] | None = None,
    orientation: tuple[float, ...] | None = None,
    findings: tuple[str, ...] = (),
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None, tuple[str, ...]]:
    """Returns position, orientation and what is to be said of them; what is not told is as given."""
    own = _numbers(told, _POSITION, 3)
    if own is not None:
        position, findings = own, () if _POSITION[0] in told else (_NOT_LPS,)
    return position, _numbers(told, _ORIENTATION, 6) or orientation, findings


def _items(layer: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    """Returns the items of a sequence, none where it is absent or no sequence."""
    if tag not in layer:
        return ()
    try:
        found = layer[tag].value
    except (*part10.MALFORMED, OSError) as error:
        raise EnhancedError(f"the functional groups cannot be read ({type(error).__name__})") from error
    return found if isinstance(found, pydicom.Sequence) else ()


def _layers(group: Sequence[Dataset], philips: int) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    """Returns the items that a group's macros hold, and that of Philips' private sequence."""
    own: list[Dataset] = []
    private: list[Dataset] = []
    for macros in group:
        for tag in sorted(macros.keys()):
            if tag.is_private:
                if tag.group == _PHILIPS_GROUP and tag.element & 0xFF == philips and _is_philips(macros, tag):
                    private += _items(macros, tag)[:1]
            elif tag.group != _REFERENCES:
                for item in _items(macros, tag)[:1]:
                    own += [item, *_items(item, _DIRECTION)[:1]]
    return tuple(own), tuple(private)


def _is_philips(group: Dataset, tag: BaseTag) -> bool:
    creator = group.get((tag.group, tag.element >> 8))
    return creator is not None and str(creator.value).strip() == _PHILIPS


def _tell(layers: Iterable[Dataset]) -> _Told:
    """Returns which of the layers, the nearest first, answers each tag that is asked for."""
    told: _Told = {}
    for layer in layers:
        for tag in _WANTED.intersection(layer.keys()):
            if tag not in told and layer.get_item(tag).value not in (None, b"", ""):
                told[tag] = layer
    return told


def _numbers(told: _Told, tags: Iterable[BaseTag], count: int) -> tuple[float, ...] | None:
    for tag in tags:
        if tag in told:
            return numbers(attributes.value(told[tag], _KEYWORDS[tag]), _KEYWORDS[tag], count)
    return None


def _text(told: _Told, tags: Iterable[BaseTag]) -> str:
    for tag in tags:
        if tag in told:
            try:
                found = attributes.value(told[tag], _KEYWORDS[tag])
            except scan.NotDicom:  # as Frame.fact: not worth losing the series for
                continue
            return "\\".join(map(str, found)) if isinstance(found, MultiValue | list) else str(found).strip()
    return ""


def _image_type(told: _Told, farthest: _Told) -> str:
    # Of Philips' own ImageType the first two values say nothing, the third as M_FFE or PHASE MAP does.
    philips = _text(farthest, [_IMAGE_TYPE]).split("\\")[2:]
    return "\\".join(filter(None, (_text(told, [_FRAME_TYPE, _IMAGE_TYPE]), _text(told, [_COMPONENT]), *philips)))


def _facts_of(dataset: Dataset, below: _Told) -> Callable[[_Told, set[BaseTag], int], dict[str, str]]:
    """Returns what makes the facts of a frame, from what answers, which of it is the frame's own, and its number."""
    instance = attributes.value(dataset, "InstanceNumber") or 0
    pointers = [_pointer(item) for item in attributes.value(dataset, "DimensionIndexSequence") or ()]
    kept = [k for k, pointer in enumerate(pointers) if pointer not in _OF_PLACE]
    times = [k for k in kept if pointers[k] in _OF_TIME]
    common = {fact: _text(below, tags) for fact, tags in _FACTS.items()}

    def of(told: _Told, own: set[BaseTag], number: int) -> dict[str, str]:
        facts = {f: common[f] if own.isdisjoint(tags) else _text(told, tags) for f, tags in _FACTS.items()}
        facts["InstanceNumber"] = f"{instance}.{number + 1:06d}"
        indices = _text(told, [_INDICES]).split("\\")
        if len(indices) == len(pointers):
            facts["DimensionIndexValues"] = "\\".join(indices[k] for k in kept)
            time = "\\".join(indices[k] for k in times)
            facts["TemporalPositionIdentifier"] = facts["TemporalPositionIdentifier"] or time
        return facts

    return of


def _pointer(item: Dataset) -> int:
    found = attributes.value(item, "DimensionIndexPointer")
    return found if isinstance(found, int) else 0
