"""Between radkit's records and `tfds`: data sets on disk as builders, and a builder that makes records itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from radkit import config
from radkit.data import contents, convert, schema, shards
from radkit.data.contents import Unit
from radkit.data.splitting import dealing, patients_table


def builder(folder: str | Path) -> tfds.core.DatasetBuilder:
    """Returns a data set that radkit wrote as a TFDS builder, with its classes' names.

    The same as `tfds.builder_from_directory` on the version's folder, which needs no radkit.

    Args:
        folder: The version's folder, or one above it that holds one data set.

    Raises:
        UserError: There is no data set, or several.

    Example:
        `datasets.builder("records/chest").as_dataset(split="train[:80%]")`
    """
    return tfds.builder_from_directory(str(shards.find_dataset(Path(folder))))


def features(record_fields: Sequence[schema.Field]) -> tfds.features.FeaturesDict:
    """Returns records' fields as TFDS features.

    Args:
        record_fields: From `schema.fields`.
    """
    made = tfds.features.FeaturesDict.from_json(schema.features_json(tuple(record_fields)))
    for field in record_fields:
        if field.kind == "class":
            made[field.name].names = list(field.class_names)
        elif field.kind == "classes":
            made[field.name].feature.names = list(field.class_names)
    return made


class Records(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # TFDS has no types
    """A builder that makes radkit's records of files which a person downloaded; a subclass says of which.

    Split by patient as `radkit convert` splits without a patients table. A file that cannot be read ends the
    preparation with its reason: TFDS has no place for what is set aside (`radkit import` has).
    """

    HOMEPAGE = CITATION = LICENSE = ""

    def data(self) -> config.Data:
        """Returns the config's data section: what becomes a record."""
        raise NotImplementedError

    def units(self, folder: Path) -> list[Unit]:
        """Returns what records are made of.

        Args:
            folder: Where the downloaded files lie.
        """
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        data = self.data()
        return tfds.core.DatasetInfo(
            builder=self,
            features=features(convert.fields_of(data)),
            description=f"{data.kind} records of radkit, schema {schema.VERSION}: {(type(self).__doc__ or '').strip()}",
            homepage=self.HOMEPAGE or None,
            citation=self.CITATION or None,
            license=self.LICENSE or None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, Any]]]:
        data, units = self.data(), self.units(Path(dl_manager.manual_dir))
        patients_table.require(None, data)
        dealt = dealing.deal(units, data)
        parts: dict[str, list[Unit]] = {name: [] for name in shards.SPLITS}
        for unit in dealt.units:
            parts[dealt.split_of[unit.patient_id]].append(unit)
        return {name: self._generate_examples(found) for name, found in parts.items() if found}

    def _generate_examples(self, units: Sequence[Unit]) -> Iterator[tuple[str, dict[str, Any]]]:
        data = self.data()
        for unit in units:
            for uid, volume in contents.volumes_of(unit, data):
                yield uid, dict(contents.record_of(unit, uid, volume, data).values)
