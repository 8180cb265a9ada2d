"""What every format of public sets has in common: cases, who they are of, and what is asked of the set."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from radkit import config
from radkit.data.public_table import Row
from radkit.data.sources import Source
from radkit.dicom.findings import Finding
from radkit.errors import UserError

Format = Literal["nifti", "png", "coco"]


@dataclass(frozen=True)
class Asked:
    """What a person says of a set that its files do not.

    Attributes:
        format: How it is laid out.
        folder: Where it lies.
        labels: The table of patients and classes, or the JSON of boxes.
        masks: The folder of the masks; None: the one below `folder` that is named so.
        modality: Modality (0008,0060) of the images; empty: as the set says.
        body_part: BodyPartExamined (0018,0015); may be empty.
        patients: A regular expression whose (first group's) match in an image's path is its patient; empty: as a table
            says.
        mask_names: What a mask's values mean: (value, label); empty: as the set says, else `data.mask_labels` in order.
    """

    format: Format
    folder: Path
    labels: Path | None = None
    masks: Path | None = None
    modality: str = ""
    body_part: str = ""
    patients: str = ""
    mask_names: tuple[tuple[int, str], ...] = ()


@dataclass
class Found:
    """What a set's folder holds.

    Attributes:
        images: File of each image, by its name: the path below the images' folder without the suffix.
        drawn: Annotations of images, by the image's name.
        homeless: How many annotations are of no image.
        rows: What a table says of images, by the image's name as it stands there; None: there is no table.
        left_out: How many images are not taken, by reason.
        refused: Images that cannot be used: path below the folder and reason.
        findings: What a person should know of the set.
        modality: As the set tells it; empty where it does not.
    """

    images: dict[str, Path] = field(default_factory=dict)
    drawn: dict[str, tuple[Source, ...]] = field(default_factory=dict)
    homeless: int = 0
    rows: dict[str, Row] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    modality: str = ""


def find(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Returns a folder's files of these suffixes by their name, sorted: the path below it without the suffix.

    Hidden files are no images: macOS leaves `._name` beside each file that it packs.

    Raises:
        UserError: Two files differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts) or not path.is_file():
            continue
        endings = [suffix for suffix in suffixes if path.name.lower().endswith(suffix)]
        if not endings:
            continue
        name = below.as_posix()[: -max(map(len, endings))]  # of .nii.gz all of it
        if name in found:
            raise UserError(
                f"two images differ in their suffix alone ({found[name].suffix} and {path.suffix}); remove one"
            )
        found[name] = path
    return found


def subfolder(folder: Path, names: Iterable[str]) -> Path | None:
    """Returns the folder below that bears one of these names, in whatever case; None when there is none.

    Raises:
        UserError: There are several.
    """
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in set(names)]
    if len(found) > 1:
        raise UserError(f"{' and '.join(path.name for path in found)} could each be meant; name one with --masks")
    return found[0] if found else None


def patient_of(path: str, patients: str) -> str:
    """Returns the patient that `--patients` finds in an image's path; nothing when it finds none.

    >>> patient_of("Part1/SC-N-05-IM-0001.png", "SC-[A-Z-]+-[0-9]+"), patient_of("a/b.png", "([^/]+)/")
    ('SC-N-05', 'a')
    """
    found = re.search(patients, path)
    if found is None:
        return ""
    return (found[1] if found.re.groups else found[0]) or ""


def value_names(asked: Asked, data: config.Data, told: Sequence[tuple[int, str]] = ()) -> tuple[tuple[int, str], ...]:
    """Returns what a mask's values mean: as asked, else as the set says, else the config's labels in order.

    Raises:
        UserError: The set names its values, and not as the config does.
    """
    names = tuple(asked.mask_names or told) or tuple(enumerate(data.mask_labels, start=1))
    missing = [label for label in data.mask_labels if label not in {known for _, known in names}]
    if missing:
        raise UserError(
            f"the set's masks have the labels {', '.join(repr(label) for _, label in names)}, and data.mask_labels "
            f"asks for {missing[0]!r}; set data.mask_labels to the set's, or say what a value means, as "
            f"--mask_names='1={missing[0]}'"
        )
    return names
