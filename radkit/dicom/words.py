"""What the reader of volumes says in words, by name: which refusal or remark is which kind of finding.

One table; `tests/dicom/test_words.py` reads the sources and wants every sentence of theirs to be in it.
"""

import re
from collections.abc import Iterable

from radkit.dicom.findings import Finding

# What a person decided on (data.irregular) is no fault any more.
_MENDED = re.compile(r"interpolated on a regular grid|left as they are, the affine")

# A sentence may hold several: each whose pattern is found in it counts. `rescale the` stands for all modalities but
# those whose images are scaled one by one.
_PATTERNS: tuple[tuple[str, str], ...] = (
    # Slices that make no regular grid.
    ("missing_slices", r"\d slices are missing: gaps"),
    ("repeated_slices", r"slice positions occur more than once"),
    ("irregular_spacing", r"slice steps are irregular"),
    ("slices_off_line", r"slices are not on one line|they lie beside each other rather than above"),
    ("slices_without_place", r"ImagePositionPatient is absent in some slices|cannot be ordered; one image was"),
    ("slices_without_place", r"mosaic without ImagePositionPatient, ImageOrientationPatient or PixelSpacing"),
    ("regridded", r"interpolated on a regular grid|left as they are, the affine"),
    # Slices that do not belong together.
    ("mixed_geometry", r"grids in the series, which differ in (?!.*Image(Orientation)Patient).*(PixelSpacing|Rows)"),
    ("several_grids", r"grids in the series, which differ in (?!.*(PixelSpacing|Rows))"),
    ("several_grids", r"grids in the series, which differ in .*ImageOrientationPatient"),
    ("rescale_differs", r"the rescale differs between slices"),
    ("mixed_pixels", r"are mixed: signed and unsigned, or other bits|grey and colour slices are mixed"),
    ("mixed_headers", r"^(Modality|SOPClassUID) differs between slices"),
    ("mixed_settings", r"^(?!Modality|SOPClassUID)[A-Z]\w+ differs between slices"),
    ("several_series", r"the files belong to"),
    ("same_uid", r"have the same SOPInstanceUID and"),
    # What values mean.
    ("negative_slope", r"RescaleSlope is negative"),
    ("no_hounsfield", r"CT without RescaleIntercept"),
    ("bad_rescale", r"map no values|RescaleSlope or RescaleIntercept is not a number"),
    # Files.
    ("files_may_be_missing", r"files may be missing|slices may be missing"),
    ("no_pixels", r"no files were given|instances has PixelData; images|no PixelData|PixelData is empty"),
    ("no_pixels", r"hold no pixels"),
    ("cut_short", r"cut short|file is empty|shorter than it was|was changed while"),
    ("damaged", r"damaged|does not fit (?!a mamm)|cannot be read|contradict each other|cannot be divided so"),
    ("damaged", r"holds no fragment|no sequence of fragments|is compressed, and its transfer syntax"),
    ("damaged", r"the header says (?!\()"),
    ("damaged", r"is not normal to ImageOrientation|not two perpendicular|PerFrame\w+ has|has no room for as many"),
    ("damaged", r"is not one number|is not one whole number|finite number|is not of numbers|PixelSpacing is absent or"),
    ("damaged", r"LUTDescriptor says|were announced|of different sizes|segment of type"),
    ("damaged", r"^\S+ has \d+ values|samples have"),
    ("damaged", r"a real-world value mapping has no slope|not DICOM|may not be opened|cannot be opened"),
    ("not_read", r"are not read|is not read|no installed decoder|needs an even number of columns|pixels are read as"),
    ("not_read", r"beyond what 32 bits|how they make up|is on a server|was asked for|DICOMDIR"),
    ("not_read", r"colour slices (that|of) "),
    ("not_read", r"is taken for a mosaic, and|ImageType says (VFRAME|MOSAIC)|the way between slices is unknown"),
    # Radiographs.
    ("side_or_view", r"sides differ|ViewCodeSequence means|a mammogram with|does not fit a mammogram|unpaired part"),
    ("side_or_view", r"is of a"),
    ("spacing_in_doubt", r"larger than his shadow|not of two positive|ultrasound regions of different"),
    ("spacing_in_doubt", r"region was left out"),
    ("spacing_of_shadow", r"spacing is (at|of) the|PixelSpacing was calibrated|divided by the estimated"),
    ("spacing_of_shadow", r"without ImagerPixelSpacing|^no PixelSpacing"),
    # Good to know.
    ("no_place", r"no ImagePositionPatient: the affine|images have no place|in the ultrasound volume's own axes"),
    ("sequence", r"frames of one instance in their order"),
    ("several_volumes", r"^one of \d+ that|by the order of InstanceNumber alone"),
    ("tilt", r"tilt: slices are sheared|moved within their planes"),
    ("copies", r"are copies of others"),
    ("left_aside", r"instances without pixels were left out"),
    ("order_by_position", r"does not rise or fall along the slices"),
    ("jitter", r"slice steps vary from"),
    ("single_slice", r"^single slice"),
    ("slices_overlap", r"slices overlap"),
    ("values_brought", r"MONOCHROME1|PALETTE COLOR: values|were brought to|Modality LUT was"),
    ("values_brought", r"Philips: values are precise"),
    ("mosaic", r"mosaic (by|without its|without SliceNormal|without SpacingBetweenSlices: )"),
)  # fmt: skip
TABLE = tuple((name, re.compile(pattern)) for name, pattern in _PATTERNS)
_IRREGULAR = ("missing_slices", "repeated_slices", "irregular_spacing", "slices_off_line")
_COUNTS = re.compile(r"runs to (?P<all>\d+) and lacks (?P<lack>\d+)|(?: is|tells of) (?P<told>\d+)\D+(?P<there>\d+) ")
# A transfer loses some files; where a larger share is lacking, the series is a part of a longer acquisition: of 12 such
# series in the validation sets of dcm2niix, all of them complete, none lacks less than 0.46.
_LOST = 0.25
# PET is scaled image by image (PS3.3 C.8.9.4), so are nuclear medicine's.
_SCALED_ONE_BY_ONE = ("PT", "NM")


def kinds(text: str, modality: str = "") -> tuple[str, ...]:
    """Returns the kinds of finding that a sentence tells of, each once, in the table's order; none of an unknown one.

    Args:
        text: A refusal's message or a volume's remark.
        modality: What is normal in one is a fault in another.

    >>> kinds("3 slices are missing: gaps of 5.000 mm where the step is 2.500 mm")
    ('missing_slices',)
    >>> kinds("the rescale differs between slices: slope 1 to 2, intercept 0 to 0", "PT")
    ('rescale_by_slice',)
    """
    found = tuple(dict.fromkeys(name for name, pattern in TABLE if pattern.search(text)))
    if _is_part(text):
        found = tuple("numbers_leap" if name == "files_may_be_missing" else name for name in found)
    if "cut_short" in found:  # what is cut short says so in more words than one
        found = tuple(name for name in found if name not in ("damaged", "no_pixels"))
    if _MENDED.search(text):
        found = tuple(name for name in found if name not in _IRREGULAR)
    if modality in _SCALED_ONE_BY_ONE:
        found = tuple("rescale_by_slice" if name == "rescale_differs" else name for name in found)
    return found


def _is_part(text: str) -> bool:
    counts = _COUNTS.search(text)
    if counts is None:
        return False
    told = int(counts["all"] or counts["told"])
    lack = int(counts["lack"]) if counts["lack"] else told - int(counts["there"])
    return lack > _LOST * told


def refused(text: str, modality: str = "") -> list[Finding]:
    """Returns a refusal as findings, `not_read` where nothing more is known of it."""
    return [Finding(name, text) for name in kinds(text, modality) or ("not_read",)]


def said(texts: Iterable[str], modality: str = "") -> list[Finding]:
    """Returns remarks as findings, each once; what the table does not know is a note."""
    each = dict.fromkeys(texts)
    return [Finding(name, text) for text in each for name in kinds(text, modality) or ("remark",)]
