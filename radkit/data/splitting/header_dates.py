"""Whether the dates of images are the true ones: de-identification may have moved them, each patient's otherwise."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from radkit.data.contents import Unit
from radkit.dicom import scan
from radkit.errors import UserError

MODIFIED = "LongitudinalTemporalInformationModified"
_WANTED = ("SOPClassUID", "SOPInstanceUID", MODIFIED)
_KEPT = "UNMODIFIED"


def require_true(instances: Iterable[scan.Instance], units: Sequence[Unit]) -> None:
    """Refuses units whose dates may have been moved.

    An image that was never de-identified has its true dates; one that was must say so. One of each study is asked.

    Args:
        instances: Of the whole input.
        units: Whose dates are to count.

    Raises:
        UserError: Studies do not say that their dates are the true ones.

    Source: DICOM PS3.3 C.12.1.1.9 and PS3.15 E.1.1.
    """
    asked = {path for unit in units for path in unit.paths[:1]}
    one: dict[str, Path] = {}
    for instance in instances:
        if instance.path in asked and instance["PatientIdentityRemoved"] == "YES":
            one.setdefault(instance["StudyInstanceUID"], instance.path)
    bar = tqdm(sorted(one.values()), desc="dates", unit="study", disable=len(one) < 2)
    moved = sum(str(scan.read_header(path, _WANTED).get(MODIFIED, "")).strip() != _KEPT for path in bar)
    if moved:
        raise UserError(
            f"data.split.test='temporal' goes by dates, and {moved} of {len(one)} de-identified studies do not say "
            f"that theirs are the true ones ({MODIFIED} is not {_KEPT}): moved dates would put patients on the wrong "
            "side. Give --patients a table with the true days in a column that data.split.date names (original "
            "identifiers need --key); the days are written nowhere"
        )
