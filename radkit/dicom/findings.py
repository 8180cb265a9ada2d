"""What can be wrong with images and their annotations, by name: how grave it is, and what to do about it.

A name is what configs, tables and pages say; `docs/labels.md` lists them.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "warning", "note"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        severity: `fault`: not to be learnt from as it is; `warning`: to be looked at; `note`: good to know.
        title: What it is, in a few words.
        advice: What a person does about it, one sentence.
    """

    severity: Severity
    title: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """One finding: of which kind, and what was found, with its numbers; it never names a patient."""

    name: str
    text: str

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ValueError(f"no kind of finding is named {self.name!r}; add it to radkit.dicom.findings.KINDS")

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return KINDS[self.name].severity


def _fault(title: str, advice: str) -> Kind:
    return Kind("fault", title, advice)


def _warning(title: str, advice: str) -> Kind:
    return Kind("warning", title, advice)


KINDS: dict[str, Kind] = {
    # Of annotations.
    "other_instances": _fault(
        "annotation names other images",
        "Find the series that it was drawn on; a mask of the neighbour series misleads.",
    ),
    "other_frame_of_reference": _fault(
        "annotation in another frame of reference", "Register the two, or find the series that it was drawn on."
    ),
    "overlapping_segments": _fault(
        "segments overlap", "Say which comes first (data.annotations.overlap), or correct the segmentation."
    ),
    "empty_segment": _warning("segment without a voxel", "Ask the reader whether the structure is absent."),
    "contour_off_slice": _fault(
        "contour lies on no slice", "Find the series that it was drawn on, or leave such contours out."
    ),
    "open_contour": _fault("open contour", "An open contour bounds no area: have it closed."),
    "other_grid": _warning(
        "mask on another grid", "It was resampled (nearest voxel); look whether thin parts survived."
    ),
    "outside_image": _fault("annotation outside the image", "Find the series that it was drawn on."),
    "partly_outside": _warning("annotation partly outside the image", "What lies beyond the image is cut off."),
    "implausible_place": _warning(
        "mask flipped or shifted against the image", "Look at the picture: axes may have been turned on export."
    ),
    "labels_without_images": _warning(
        "labels whose images are not there", "Check identifiers: original ones need --key, or the images are missing."
    ),
    "images_without_labels": _warning("images without labels", "Have them labelled, or leave them out knowingly."),
    "duplicate_rows": _fault("rows that say the same thing twice", "Remove one, or name the reader of each."),
    "contradicting_rows": _fault("rows that contradict each other", "Have the case adjudicated."),
    "unknown_class": _fault("class that the config does not know", "Correct its spelling, or add it to the config."),
    "several_readers": _warning("several readers", "data.annotations.several says how they are made one."),
}
