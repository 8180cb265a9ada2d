"""De-identification of a pydicom data set that is in memory; files go another, faster way (`files.py`)."""

import copy
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import dcmwrite

from radkit.deid import engine, part10
from radkit.deid.keys import Key
from radkit.deid.settings import FEATURES, PIXELS, Settings
from radkit.dicom.part10 import silence
from radkit.errors import UserError


def deidentify(dataset: Dataset, key: Key, settings: Settings | None = None) -> FileDataset:
    """Returns a de-identified copy; the data set stays as it is.

    Args:
        dataset: As `pydicom.dcmread` gives it, or built in memory; explicit little endian where it does not say.
        key: What pseudonyms and new UIDs come from.
        settings: Options, and what becomes of unlisted text; the Basic Profile when left out.

    Raises:
        NotCleanable: A kind of object that the profile would leave leaking, or a UID that must be there is missing.
        UserError: Options that work on files only, or no key.

    Source: DICOM PS3.15 E.1.1 and Table E.1-1.
    """
    chosen = settings or Settings()
    if beyond := chosen.options & {PIXELS, FEATURES}:
        raise UserError(f"{', '.join(sorted(beyond))} work on files; use radkit anonymize, or leave them out here")
    if not isinstance(key, Key):
        raise UserError(f"a Key was expected, not {type(key).__name__}; radkit.deid.keys.read(path) gives one")
    packed = BytesIO()
    with silence():
        dataset = copy.deepcopy(dataset)  # writing settles VRs that are open
        said = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
        implicit, little = dataset.original_encoding
        encoding = {} if said else {"implicit_vr": bool(implicit), "little_endian": little is not False}
        dcmwrite(packed, dataset, enforce_file_format=False, **encoding)
        content = packed.getvalue()
        # Without meta and preamble a data set is told by its first element.
        source = part10.source_of(content)
        outcome = engine.clean(source, key, chosen)
        head = part10.meta(outcome.sop_class, outcome.instance, outcome.transfer_syntax)
        body = part10.joined(outcome.parts, source)
        if outcome.transfer_syntax == part10.DEFLATED:
            body = part10.deflated(body)
        return pydicom.dcmread(BytesIO(head + body))
