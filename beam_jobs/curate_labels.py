"""What a labels table says of a folder's series, for a curation: it tells of everything, where `convert` would stop."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from radkit import config
from radkit.data import convert, sources
from radkit.data.labels import Labels
from radkit.dicom import scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError


class Told:
    """A labels table beside the images.

    Attributes:
        refusals: Why `convert` would refuse the table, as far as is known by now.
    """

    def __init__(self, path: Path, data: config.Data, rename: sources.Rename | None) -> None:
        """Reads the table.

        Args:
            path: The file.
            data: The config's data section; what its policies refuse is told, not refused.
            rename: See `labels.Labels`.

        Raises:
            UserError: It is no such table, or a row cannot be understood.
        """
        self.refusals: list[str] = []
        self._kind, self._wishes, self._absent = data.kind, data.annotations, convert.no_label(data)
        try:
            self._labels = Labels(path, replace(data, annotations=_lenient(data.annotations, last=False)), rename)
        except UserError as error:
            self.refusals.append(str(error))
            wishes = _lenient(data.annotations, last=True)
            if data.label_kind == "survival":  # whose readers' times are not made one
                wishes = replace(wishes, several="first")
            self._labels = Labels(path, replace(data, annotations=wishes), rename)

    def of(self, series: scan.Series) -> list[Finding]:
        """Returns what is to be said of a series' labels: none, several, or some of its images without."""
        groups: dict[str, list[scan.Instance]] = defaultdict(list)
        for instance in series.instances:
            groups[instance["SOPInstanceUID"] if self._kind == "radiograph" else ""].append(instance)
        try:
            against = [self._against(group) for group in groups.values()]
        except UserError as error:  # a row says two images at once
            self.refusals = list(dict.fromkeys([*self.refusals, str(error)]))
            return [Finding("contradicting_rows", str(error))]
        found = list(dict.fromkeys(reason for reason in against if reason and reason != self._absent))
        said = [Finding("contradicting_rows", reason) for reason in found]
        alone = against.count(self._absent)
        if alone:
            some = f"{alone} of the series' {len(groups)} images have " if len(groups) > 1 else ""
            said.append(Finding("images_without_labels", some + self._absent))
        return said

    def _against(self, group: Sequence[scan.Instance]) -> str:
        """Returns why what becomes one record has no label; nothing where it has one."""
        if self._labels.of_any(group) is not None:
            return ""
        if self._labels.disagreement("", group):
            return convert.TIED
        return convert.CONTRADICTED if self._labels.contradicts(group) else self._absent

    def findings(self, seen: Sequence[scan.Instance]) -> list[Finding]:
        """Returns what is to be said of the table as a whole, once `of` was asked of all series.

        Args:
            seen: All instances that are there.
        """
        self._labels.unused(seen)
        return self._labels.findings


def _lenient(wishes: config.Annotations, last: bool) -> config.Annotations:
    """Returns policies by which a table is read to its end."""
    wishes = replace(wishes, without_image="report")  # known only when all images were seen
    if not last:
        return wishes
    several = "majority" if wishes.several == "refuse" else wishes.several
    return replace(wishes, unknown_class="leave_out", duplicates="first", several=several)
