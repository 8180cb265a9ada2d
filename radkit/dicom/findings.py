"""What can be wrong with images and their annotations, by name: how grave it is, and what to do about it.

A name is what configs, tables and pages say; `docs/labels.md` lists them.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "warning", "note", "rule"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        severity: `fault`: not to be learnt from as it is; `warning`: to be looked at; `note`: good to know; `rule`: as
            it should be, and not what was asked for.
        title: What it is, in a few words.
        advice: What a person does about it, one sentence.
    """

    severity: Severity
    title: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """One finding: of which kind, what was found, with its numbers, and how many images or rows it is of.

    It never names a patient.
    """

    name: str
    text: str
    count: int = 1

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


def _note(title: str, advice: str) -> Kind:
    return Kind("note", title, advice)


def _rule(title: str) -> Kind:
    return Kind("rule", title, "Change data.curate, if it should be taken.")


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
    "skipped_slices": _warning(
        "contours skip slices", "Nothing is drawn between them: have the structure interpolated, or leave it out."
    ),
    "contour_names_other_slice": _warning(
        "contours lie on another slice than they name", "Look at the picture: they may be shifted by slices."
    ),
    "odd_contours": _warning("contours that are not well formed", "Look whether a structure lacks a part."),
    "repeated_name": _warning("several structures of one name", "They count as one: rename one if they are not."),
    "open_contour": _fault("open contour", "An open contour bounds no area: have it closed."),
    "other_grid": _warning(
        "mask on another grid", "It was resampled (nearest voxel); look whether thin parts survived."
    ),
    "two_places": _warning(
        "file that says two places", "Look at the picture: programs differ in which of qform and sform they take."
    ),
    "mask_without_place": _warning(
        "mask whose file says no place", "Look at the picture, and save the mask again with a qform or an sform."
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
    "other_labels": _note(
        "annotations of other labels than asked for", "If one should be among them, correct data.mask_labels."
    ),
    "unknown_class": _fault("class that the config does not know", "Correct its spelling, or add it to the config."),
    "unknown_patients": _warning(
        "images of no known patient",
        "Say whose they are (a table's column, --patients): one patient in training and test makes scores too good.",
    ),
    "mixed_reference_standards": _fault(
        "labels of different reference standards",
        "Name the one that counts (data.annotations.reference_standards); figures of different ones are not mixed.",
    ),
    "repeated_reading": _fault(
        "one reader drew a structure more than once",
        "Remove the superseded one, or let the first stand (data.annotations.duplicates).",
    ),
    "one_mask_of_several_images": _warning(
        "one mask of several images", "A mask is drawn on one image: correct the table's files or identifiers."
    ),
    "several_readers": _warning("several readers", "data.annotations.several says how they are made one."),
    # Of a folder, as `radkit curate` finds them.
    "modality_not_asked": Kind("rule", "modality not asked for", "Add it to data.modalities, if it should be taken."),
    "unreadable_series": _fault(
        "series that cannot be read as the config asks", "Its text says why; complete it, or change the setting named."
    ),
    "too_many_volumes": _fault(
        "several volumes where the config takes one", "Set data.volumes to 'largest' or 'all', or leave them out."
    ),
    "unreadable_annotation": _fault(
        "annotation that cannot be read", "Its text says why; have it exported again, or leave it out."
    ),
    "unusual_series": _note(
        "series unlike the others of its modality", "Look at it: another protocol, or a mistake on the way."
    ),
    "duplicate_images": _fault(
        "same images under different patients",
        "Find out whose they are: one patient in training and test at once makes scores too good.",
    ),
    "repeated_images": _warning(
        "same images in several series of a patient", "Keep one of them; learnt from twice, they count double."
    ),
    # Of what was asked for (data.curate).
    "plane_not_asked": _rule("plane not asked for"),
    "body_part_not_asked": _rule("body part not asked for"),
    "kernel_not_asked": _rule("kernel not asked for"),
    "phase_not_asked": _rule("contrast phase not asked for"),
    "contrast_not_asked": _rule("with or without contrast, not as asked for"),
    "number_of_slices_not_asked": _rule("number of slices not asked for"),
    "slice_spacing_not_asked": _rule("slice spacing not asked for"),
    "pixel_spacing_not_asked": _rule("pixel spacing not asked for"),
    "slice_thickness_not_asked": _rule("slice thickness not asked for"),
    "localizer": _rule("localizer"),
    "derived": _rule("derived images"),
    "secondary": _rule("secondary capture"),
    "untold": _rule("header does not tell what a rule asks"),
    # Of a person's word over all of it.
    "left_out_by_person": _rule("left out by a person"),
    "kept_by_person": _note("kept by a person", "Nothing is to be done; the table of overrides says who and why."),
    "override_without_series": _warning(
        "override of a series that is not there", "Check its SeriesInstanceUID: after de-identification it is another."
    ),
    # Of slices.
    "missing_slices": _fault("slices are missing", "Send the series again, or set data.irregular='resample'."),
    "repeated_slices": _fault("slices at one place", "Find out which of them belong to the series; remove the others."),
    "irregular_spacing": _fault(
        "slices unevenly spaced", "data.irregular='resample' interpolates them; look whether slices are missing."
    ),
    "slices_off_line": _fault("slices shifted sideways", "Look at the series from the side; send it again."),
    "slices_without_place": _fault("slices without a place in the patient", "Export the series anew, with positions."),
    "regridded": _warning(
        "slices made no regular grid", "data.irregular says what became of them; look at the result."
    ),
    "mixed_geometry": _fault("slices of several sizes or spacings", "Separate them: they are of several acquisitions."),
    "rescale_differs": _fault(
        "rescale differs between slices", "Look whether slices of one tissue have one value; a slope may be swapped."
    ),
    "mixed_pixels": _fault("slices of several kinds of pixels", "Separate them: they are of several acquisitions."),
    "mixed_headers": _fault("slices of several modalities", "Separate them: they are of several acquisitions."),
    "mixed_settings": _warning("slices of several settings", "Look whether slices of two acquisitions were mixed."),
    "several_series": _fault("files of several series", "Give the files of one series."),
    "same_uid": _fault("two images under one UID", "Find out which is the right one; a transfer may have damaged one."),
    "negative_slope": _fault("negative rescale slope", "Slope and intercept may be swapped; export the series anew."),
    "no_hounsfield": _warning("CT without RescaleIntercept", "Look whether air is near -1000; else values are no HU."),
    "bad_rescale": _fault("rescale that maps no values", "Export the series anew."),
    "files_may_be_missing": _warning("files may be missing", "Compare with the number of images in the archive."),
    "no_pixels": _fault("no pixels", "Send the series again, or leave it out."),
    "cut_short": _fault("files cut short", "Send the series again."),
    "damaged": _fault("damaged files", "Send the series again; if it stays so, export it anew."),
    "not_read": _fault("images of a kind that is not read", "Export the series in another form."),
    "side_or_view": _warning("side or view contradicts itself", "Look at the picture, and say which is right."),
    "spacing_in_doubt": _warning("pixel spacing in doubt", "Do not measure in it, before it is known what it means."),
    "numbers_leap": _note("InstanceNumbers or counts beyond what is there", "Parts of a longer acquisition have such."),
    "rescale_by_slice": _note("rescale of its own for each slice", "Normal for PET and nuclear medicine."),
    "spacing_of_shadow": _note("pixel spacing of a projection", "Sizes in the patient are smaller, or not known."),
    "several_grids": _note(
        "several stacks in one series", "Normal for localizers and echoes; data.volumes says which."
    ),
    "several_volumes": _note("several volumes in one series", "data.volumes says which are taken."),
    "no_place": _note("no place in the patient", "Normal for radiographs and pictures."),
    "sequence": _note("frames in their order", "A sequence in time, or pictures."),
    "tilt": _note("tilted gantry", "data.tilt='resample' sets slices upright."),
    "copies": _note("copies of files", "They count once."),
    "left_aside": _note("files without pixels", "They are no images, and were left out."),
    "order_by_position": _note("InstanceNumber against the slices", "Order is by position."),
    "jitter": _note("slice steps that were rounded", "The affine holds their mean."),
    "single_slice": _note("single slice", "Its depth is its thickness."),
    "slices_overlap": _note("slices overlap", "Normal for reconstructions that overlap."),
    "values_brought": _note("values were brought to the usual form", "Nothing is to be done."),
    "mosaic": _note("mosaic", "What its header does not tell was assumed."),
    "remark": _note("remark", "Read it."),
    # Of pixels.
    "constant_image": _fault("constant image", "Nothing is on it: leave it out."),
    "constant_slices": _fault("constant slices within a volume", "Send the series again; pixels were lost."),
    "clipped": _fault("values cut off at the top", "Export the series anew, without a window or with more bits."),
    "inverted": _fault("grey values turned round", "Check PhotometricInterpretation; bone and air are exchanged."),
    "wrong_range": _fault("values that the modality does not have", "Check RescaleSlope and RescaleIntercept."),
    "wrong_modality": _fault("values of another modality", "Check Modality: the pixels look like another's."),
    "noisy": _warning("much noise", "Look at it: is it an image of a patient?"),
    "cut_body": _note("body cut off at the field of view", "Normal for a small field of view."),
    "burned_in": _warning("text burned into the pixels, by the header", "Look at it: names and labels can be learnt."),
    "repeated_pixels": _fault("slices with the same pixels", "Send the series again: one slice stands for another."),
    "shuffled_slices": _fault("slices out of order", "Positions do not fit the pixels; export the series anew."),
    "shifted_slice": _fault("slice shifted within its plane", "Look at the series from the side; send it again."),
    "unlike_others": _warning(
        "mask unlike those of the other cases", "Look at the picture: it may be flipped, or of a neighbour's series."
    ),
    # Of boxes and measurement reports.
    "degenerate_box": _fault("box without extent", "Have it drawn again: its width or height is zero or negative."),
    "crowd_boxes": _note("boxes around crowds", "They hold several objects each, and were left out."),
    "unread_regions": _warning(
        "outlines that were not read", "Only their boxes were; run-length masks need a mask file."
    ),
    "no_measurements": _warning("report without measurements", "Ask the reader whether nothing was found."),
    "other_images_too": _note("report on other images, too", "What it says of them was left out here."),
    "figure_without_slice": _warning(
        "figure of no slice", "It names an image that is not the series', or none; find the series it was drawn on."
    ),
    "upside_down": _warning(
        "radiograph upside down", "Look at the picture; labels of sides and places are wrong then."
    ),
    "drawn": _note("a mask or a drawing, not an image", "Give it as annotation, not as image."),
}
