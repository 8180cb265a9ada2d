"""The Medical Segmentation Decathlon as a TFDS builder: `tfds.load("decathlon/hippocampus")`.

Source: Antonelli et al. 2022, https://doi.org/10.1038/s41467-022-30695-9; tasks and labels from each dataset.json.
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from radkit import config
from radkit.data import public, public_cases
from radkit.data.contents import Unit
from radkit.data.datasets.records import Records
from radkit.errors import UserError

_CITATION = """@article{antonelli2022decathlon,
  title={The Medical Segmentation Decathlon},
  author={Antonelli, Michela and others},
  journal={Nature Communications},
  volume={13},
  number={4128},
  year={2022}
}"""


@dataclasses.dataclass(eq=False)
class DecathlonConfig(tfds.core.BuilderConfig):
    """A task of one channel: Task01 (brain tumour) and Task05 (prostate) have several and are not among them.

    Attributes:
        folder: As the archive's.
        modality: DICOM's Modality.
        labels: Of mask values 1, 2, ...
    """

    folder: str = ""
    modality: str = ""
    labels: tuple[str, ...] = ()


def _task(folder: str, modality: str, *labels: str) -> DecathlonConfig:
    name = folder.partition("_")[2]
    snake = "".join(f"_{c.lower()}" if c.isupper() and n else c.lower() for n, c in enumerate(name))
    return DecathlonConfig(name=snake, folder=folder, modality=modality, labels=labels, description=folder)


class Decathlon(Records):
    """Volumes and masks of one task of the Medical Segmentation Decathlon."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "http://medicaldecathlon.com"
    CITATION = _CITATION
    LICENSE = "CC BY-SA 4.0"
    BUILDER_CONFIGS: ClassVar[list[DecathlonConfig]] = [
        _task("Task02_Heart", "MR", "left atrium"),
        _task("Task03_Liver", "CT", "liver", "cancer"),
        _task("Task04_Hippocampus", "MR", "Anterior", "Posterior"),
        _task("Task06_Lung", "CT", "cancer"),
        _task("Task07_Pancreas", "CT", "pancreas", "cancer"),
        _task("Task08_HepaticVessel", "CT", "Vessel", "Tumour"),
        _task("Task09_Spleen", "CT", "spleen"),
        _task("Task10_Colon", "CT", "colon cancer primaries"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the task's archive from http://medicaldecathlon.com (CC BY-SA 4.0), unpack it, and name the folder "
        "that holds Task04_Hippocampus (or another task) as manual_dir: "
        "tfds.load('decathlon/hippocampus', download_and_prepare_kwargs={'download_config': "
        "tfds.download.DownloadConfig(manual_dir='/data/decathlon')})"
    )

    def data(self) -> config.Data:
        """Returns what becomes a record; the sizes that a network sees are a config's to say."""
        task: Any = self.builder_config
        return config.Data(
            dataset="decathlon",
            modalities=(task.modality,),
            mask_labels=task.labels,
            annotations=config.Annotations(other_frame_of_reference="report"),
        )

    def units(self, folder: Path) -> list[Unit]:
        """Returns the task's cases.

        Raises:
            UserError: The folder has no such task, or one of its cases cannot be used.
        """
        task: Any = self.builder_config
        if not (folder / task.folder).is_dir():
            raise UserError(f"{folder} holds no folder {task.folder}; {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        asked, data = public_cases.Asked("nifti", folder / task.folder), self.data()
        chosen = public.select(asked, data)
        if chosen.refused:
            path, reason = chosen.refused[0]
            raise UserError(f"{len(chosen.refused)} cases cannot be used, as {path}: {reason}")
        return public.units(chosen, asked, data)
