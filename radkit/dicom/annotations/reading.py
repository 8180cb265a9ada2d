"""One door for annotations of every kind: the file tells what it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from radkit import config
from radkit.dicom import attributes, foreign, scan
from radkit.dicom.annotations import label_images, rtstruct, seg, sr
from radkit.dicom.annotations.form import WISHES, Annotation, AnnotationError
from radkit.dicom.volumes import Volume

_READERS = {"SEG": seg.read, "RTSTRUCT": rtstruct.read, "SR": sr.read}


def read(
    path: Path | str | Sequence[Path | str],
    volume: Volume,
    labels: Sequence[str] | str | None = None,
    wishes: config.Annotations = WISHES,
    names: Mapping[int, str] | None = None,
) -> Annotation:
    """Returns what was drawn and written on an image, on that image's grid.

    Args:
        path: A DICOM Segmentation, RT Structure Set or structured report of measurements; a mask as NIfTI, NRRD,
            MetaImage or picture; or the DICOM images of a series that is a mask.
        volume: The image.
        labels: Names of the regions to read, or one name; None: all.
        wishes: What becomes of what does not fit.
        names: Of a mask's values 1, 2, ...; a DICOM annotation brings its own.

    Raises:
        AnnotationError: The annotation cannot be read, or does not fit the image.

    Example:
        >>> from radkit.dicom import read_annotation, read_volumes  # doctest: +SKIP
        >>> volume = read_volumes("series")[0]  # doctest: +SKIP
        >>> read_annotation("structures.dcm", volume).labels  # doctest: +SKIP
        ('Liver', 'Tumour')
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    if not paths:
        raise AnnotationError("no file was given; name an annotation's")
    labels = [labels] if isinstance(labels, str) else labels
    if not all(isinstance(label, str) for label in labels or ()):
        raise AnnotationError("labels are not all names; the names of regions were expected")
    if names is not None and not (
        isinstance(names, Mapping) and all(isinstance(v, int) and isinstance(n, str) for v, n in names.items())
    ):
        raise AnnotationError("names are no table of a mask's values (whole numbers) and what they mean")
    if foreign.is_foreign(paths[0]):
        if len(paths) > 1:
            raise AnnotationError(f"{len(paths)} files were given, the first no DICOM; read them one by one")
        return label_images.read(paths[0], volume, labels, wishes, names)
    try:
        modality = attributes.text(
            scan.read_header(paths[0], ["Modality", "SOPClassUID", "SOPInstanceUID"]), "Modality"
        )
    except scan.NotDicom as error:
        raise AnnotationError(f"the annotation cannot be read: {error}") from error
    if modality in _READERS:
        if len(paths) > 1:
            raise AnnotationError(f"{len(paths)} files of Modality {modality} were given; read them one by one")
        return _READERS[modality](paths[0], volume, labels, wishes)
    return label_images.read(paths, volume, labels, wishes, names)
