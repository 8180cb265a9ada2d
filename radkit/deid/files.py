"""De-identifies files into `<PatientID>/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm`, all new values.

Many processes may write to one folder. Whoever comes first has the final name; who finds it taken by other content
sets a copy aside, and at the end `settle` keeps the input that comes first in the listing, so the outcome does not
depend on who was faster.
"""

import contextlib
import dataclasses
import errno
import filecmp
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import DataElement

from radkit.deid import engine, escrow, part10, pixels
from radkit.deid.keys import Key
from radkit.deid.settings import PIXELS, Settings
from radkit.deid.wire import NotCleanable
from radkit.dicom.part10 import MALFORMED, silence
from radkit.dicom.pixels import PixelError

OTHER_CONTENT = "another instance with the same SOPInstanceUID and other content; its copy is in conflicts"
CONFLICTS = "conflicts"

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Work:
    """What is done to every file of a run.

    Attributes:
        key: What pseudonyms and new UIDs come from.
        settings: Options, and what becomes of unlisted text.
        certificate: PEM of whom the originals are encrypted for, within each instance; empty for nobody.
        templates: Known places of text in pixels, by device.
    """

    key: Key
    settings: Settings
    certificate: bytes = b""
    templates: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Written:
    """What became of one file."""

    place: str  # where the instance belongs, relative to the output's root, with new values only
    aside: str  # "" when `place` holds this content; else the name of the copy set aside
    outcome: engine.Outcome
    looked_at: bool = False  # at every frame of its pixels
    cleaned: Any = None  # what was blacked out of the pixels, as `text_in_pixels.clean` says it


def deidentify_file(source: Path, root: Path, work: Work, *, face: np.ndarray | None = None) -> Written:
    """Writes one file's de-identified copy; safe to call from many processes at once.

    Args:
        source: The file.
        root: Below which to write.
        work: What to do.
        face: Pixels to overwrite, (rows, columns) bool; None for an instance that shows no head.

    Raises:
        engine.Directory: It is a DICOMDIR, which is made anew from what is written.
        NotCleanable: The file must be quarantined; the message says why without naming anything of it.
        OSError: The disk refused.
    """
    try:
        with part10.opened(source) as opened:
            changed = _pixels(source, opened, work, face)
            outcome = engine.clean(opened, work.key, work.settings, changed.pixels)
            if work.certificate:
                outcome = _with_escrow(source, opened, outcome, work, changed.pixels)
            place = f"{outcome.patient}/{outcome.study}/{outcome.series}/{outcome.instance}.dcm"
            final = f"{root}/{place}"
            aside = _write_aside(outcome, opened, final)
    except NotCleanable:
        raise
    except PixelError as error:
        raise NotCleanable(f"its pixels cannot be looked at: {error}") from error
    except MALFORMED as error:
        raise NotCleanable(f"the file cannot be read ({type(error).__name__})") from error
    return Written(place, _publish(aside, final), outcome, changed.pixels.looked_at, changed.cleaned)


def _pixels(source: Path, opened: part10.Source, work: Work, face: np.ndarray | None) -> pixels.Changed:
    wanted = PIXELS in work.settings.options or face is not None
    if not wanted or not engine.has_pixels(engine.facts_of(opened)):
        return pixels.Changed(engine.Pixels())
    dataset = _decoded(source)
    return pixels.change(dataset, opened.syntax, work.settings, face=face, templates=work.templates)


def _decoded(source: Path) -> pydicom.FileDataset:
    with silence():
        return pydicom.dcmread(source, force=True)


def _with_escrow(
    source: Path, opened: part10.Source, outcome: engine.Outcome, work: Work, changed: engine.Pixels
) -> engine.Outcome:
    """Returns the outcome with the attributes that were touched in EncryptedAttributesSequence (PS3.15 E.1.1)."""
    whole = _decoded(source)
    tags = outcome.log.tags() | {0x00080005, 0x00080018}
    original = pydicom.Dataset({e.tag: e for e in whole if e.tag in tags and e.tag.group not in (0, 2, 4)})
    with silence():
        item = escrow.encrypted_attributes(original, work.certificate)
        element = pixels.encoded(DataElement(engine.ENCRYPTED, "SQ", [item]), opened.syntax)
    more = dataclasses.replace(changed, elements={**changed.elements, engine.ENCRYPTED: element})
    return engine.clean(opened, work.key, work.settings, more)


def _write_aside(outcome: engine.Outcome, source: part10.Source, final: str) -> str:
    _make_folder(os.path.dirname(final))
    aside = f"{final.removesuffix('.dcm')}.{os.getpid()}.{id(outcome)}.aside"
    head = part10.meta(outcome.sop_class, outcome.instance, outcome.transfer_syntax)
    part10.write(aside, head, outcome.parts, source, outcome.transfer_syntax)
    return aside


def _make_folder(folder: str) -> None:
    if not os.path.isdir(folder):  # a series' first file makes it; asking is cheaper than trying
        os.makedirs(folder, exist_ok=True)


def _publish(aside: str, final: str) -> str:
    """Gives a file its final name unless another has it; returns the name of what is set aside, or nothing."""
    try:
        _take(aside, final)
    except FileExistsError:
        if not filecmp.cmp(aside, final, shallow=False):
            other = f"{final.removesuffix('.dcm')}.{_digest(Path(aside))}.other"
            os.replace(aside, other)
            return os.path.basename(other)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    return ""


def _take(aside: str, final: str) -> None:
    """Makes `final`, or raises FileExistsError: of several processes exactly one succeeds."""
    try:
        os.link(aside, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))  # a file system without hard links
        os.replace(aside, final)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def sweep(root: Path) -> None:
    """Removes what a killed worker left of a file it was writing."""
    for pattern in ("*.aside", "*.incomplete", "*.incomplete.*", "*.settling"):
        for litter in root.rglob(pattern):
            litter.unlink()


def settle(root: Path, outcomes: Iterable[tuple[int, str, str]]) -> tuple[set[int], set[int]]:
    """Decides between inputs of one SOPInstanceUID, once all are written: the lowest number's content stays.

    Args:
        root: The output's root.
        outcomes: Of each written input: its number in the listing, `Written.place` and `Written.aside`.

    Returns:
        The numbers of inputs that were the same as an earlier one, and of those that were not.
    """
    by_instance: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for number, place, aside in outcomes:
        by_instance[Path(place).name].append((number, place, aside))
    same: set[int] = set()
    different: set[int] = set()
    for inputs in by_instance.values():
        if len(inputs) > 1:
            inputs.sort()
            seen: set[str] = set()
            for (number, _, _), content in zip(inputs, _settle_one(root, inputs), strict=True):
                if content in seen:
                    same.add(number)
                elif seen:
                    different.add(number)
                seen.add(content)
    return same, different


def _settle_one(root: Path, inputs: list[tuple[int, str, str]]) -> list[str]:
    """Leaves the first input's content under its name, moves what differs to the conflicts; returns all digests."""
    files = [(root / place).with_name(aside) if aside else root / place for _, place, aside in inputs]
    digests = {file: _digest(file) for file in set(files)}
    waiting = {file: file.with_name(f"{file.name}.settling") for file in digests}
    for file, aside_name in waiting.items():
        file.replace(aside_name)  # first all out of the way: one may hold another's place
    waiting.pop(files[0]).replace(root / inputs[0][1])
    seen = {digests[files[0]]}
    for (number, place, _), file in zip(inputs, files, strict=True):
        left = waiting.pop(file, None)
        if left is None:
            continue
        if digests[file] in seen:
            left.unlink()
        else:
            apart = (root / CONFLICTS / place).with_suffix(f".{number}.dcm")
            apart.parent.mkdir(parents=True, exist_ok=True)
            left.replace(apart)
        seen.add(digests[file])
        _remove_empty(file.parent, root)
    return [digests[file] for file in files]


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
