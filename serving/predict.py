"""radkit predict: sends DICOM to a server; JSON, DICOM SEG and SR come back. Needs no TensorFlow.

    radkit predict --server 127.0.0.1:8500 --model hippocampus --input clean --output answers

In: a folder of DICOM, any depth, and a server (`radkit serve`, or TensorFlow Serving with the same export). A model
of volumes gets each image series, a model of radiographs each image: grey, and set on the grid of the records that the
model was trained on (data.colour, data.tilt, data.record_orientation, ...) as its export tells it, with what the
headers say of data.table. Masks come back on the grid of the images as acquired; what the model did not see is 0.

Out: OUTPUT/<SeriesInstanceUID>/answer.json (model and version; by class `probabilities`, `values` with their `unit`,
or `volume_ml`; of degrees also `at_least` and the middle one, `degree`; of a detector `boxes`, each with `label`,
`score`, its edges `low` and `high` in the voxels of the image as acquired, and, where the headers say where that lies,
`centre_lps_mm` and `sides_mm`), measurements.dcm (the same as a DICOM SR, TID
1500) and segmentation.dcm (DICOM SEG) where a mask holds anything (with several radiographs in a series: one folder an
image below it);
`skipped.csv` (series that are no images), `quarantine.csv` (files and series that were set aside, with reasons),
`summary.json`, `provenance.json`. All answers are given by the same version of the model.

Exit status: 0 done; 1 done, some inputs were set aside and are listed; 2 refused, nothing written.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from radkit import config, outputs, program
from radkit.data import contents, resample
from radkit.dicom import annotations, scan
from radkit.dicom.volumes import SeriesError, Volume, read_volumes
from radkit.errors import UserError
from serving import answers, client, signatures

FLAGS = program.new_flags(data_in="Folder of DICOM files, any depth.", out="Folder to write the answers into.")
flags.DEFINE_string("server", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Name under which the model is served.", flag_values=FLAGS)
flags.DEFINE_float("timeout_s", 300.0, "How long one answer may take.", flag_values=FLAGS, lower_bound=0.001)

SKIPPED = "skipped.csv"


@dataclass(frozen=True)
class Unit:
    """What is sent at once: the files of a series, or one radiograph's file."""

    name: str  # the folder of its answer
    series_uid: str
    paths: tuple[Path, ...]


def units(series: Iterable[scan.Series], rank: int) -> list[Unit]:
    """Returns what is sent to a model of this spatial rank, from image series."""
    found = []
    for one in series:
        groups = [one.instances] if rank == 3 else [(instance,) for instance in one.instances]
        for group in groups:
            name = one.uid if len(groups) == 1 else f"{one.uid}/{group[0]['SOPInstanceUID']}"
            found.append(Unit(name, one.uid, tuple(instance.path for instance in group)))
    return found


def _run(values: flags.FlagValues, _: list[str]) -> int:
    folder = program.input_folder(values)
    program.required(values, "output", "model")
    output, name = Path(values["output"].value), values["model"].value
    with client.Client(values["server"].value, values["timeout_s"].value) as server:
        found = server.metadata(name)
        answers.rank_of(found.signature)
        data = _data(server, name, found)
        paths = scan.find(folder)
        # Contents, not sizes: two images of one size are common, and an answer must be to this very image.
        digest = outputs.digest_of_files(paths, folder)
        record = outputs.provenance("predict", {"model": {"name": name, "version": found.version}}, digest)
        if not outputs.already_done(output, record):
            _predict(folder, paths, output, record, _Asker(server, name, found, data))
    return _close(output, name, found.version)


def _data(server: client.Client, name: str, found: client.Metadata) -> config.Data | None:
    """Returns how the records were made that the model was trained on; None where it does not tell."""
    if signatures.RECORDS not in found.others:
        return None
    given = {"spacing_mm": np.ones((1, answers.rank_of(found.signature)), np.float32)}
    told = server.predict(name, given, version=found.version, signature=signatures.RECORDS)
    try:
        return config.data_from_json(json.loads(told["data"].item()))
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(f"what model {name!r} tells of its records cannot be read; export it again") from error


@dataclass(frozen=True)
class _Asker:
    """One version of one model on one server, and how its records were made."""

    server: client.Client
    name: str
    found: client.Metadata
    data: config.Data | None

    def answer(self, unit: Unit, folder: Path) -> None:
        """Reads, sends and writes one unit."""
        if not re.fullmatch(r"[0-9.]+(/[0-9.]+)?", unit.name) or ".." in unit.name:
            raise SeriesError("its UID is not digits and single dots, so that no folder can have its name")
        volumes = read_volumes(unit.paths, scaling="display")  # as the records it was trained on
        if len(volumes) != 1:
            raise SeriesError(
                f"the series holds {len(volumes)} volumes (orientations, sizes or echoes); one was expected"
            )
        acquired, grid, sent = self._set(volumes[0])
        inputs = answers.inputs_of(sent, answers.rank_of(self.found.signature), self.data)
        answer = self.server.predict(self.name, inputs, version=self.found.version)
        model = {"name": self.name, "version": self.found.version}
        answers.write(answer, acquired, model, folder / unit.name, grid, self.data)

    def _set(self, volume: Volume) -> tuple[Volume, resample.Grid, Volume]:
        if self.data is not None:
            try:
                return contents.recorded(volume, self.data)
            except UserError as error:  # of this series, whatever it is
                raise SeriesError(str(error)) from error
        if volume.stored.ndim > 3:
            raise SeriesError("the images are colour, and the model does not tell how to make them grey")
        return volume, resample.grid_of(volume), volume


def _predict(folder: Path, paths: Sequence[Path], output: Path, record: dict[str, Any], asker: _Asker) -> None:
    series, unreadable = scan.series(paths)
    sent = units([one for one in series if one.is_image], answers.rank_of(asker.found.signature))
    if not sent:
        raise UserError(f"--input {folder} holds no image series ({len(series)} others, {len(unreadable)} unreadable)")
    skipped = [(one.uid, f"no image (Modality {one.modality or 'absent'})") for one in series if not one.is_image]
    with outputs.staged(output, record) as aside:
        refused = _answer_all(sent, asker, aside)
        dead = [*refused, *((path.relative_to(folder).as_posix(), reason) for path, reason in unreadable)]
        outputs.write_csv(aside / SKIPPED, ("series", "reason"), sorted(skipped))
        outputs.write_csv(aside / outputs.QUARANTINE, ("input", "reason"), sorted(dead))
        counts = {"answered": len(sent) - len(refused), "skipped": len(skipped), "quarantined": len(dead)}
        outputs.write_json(aside / "summary.json", counts)


def _answer_all(sent: Sequence[Unit], asker: _Asker, folder: Path) -> list[tuple[str, str]]:
    """Sends each unit and writes its answer; returns those set aside with their reasons."""
    refused = []
    for unit in tqdm(sent, desc="predict", unit="series", mininterval=0.5):
        try:
            asker.answer(unit, folder)
        except (SeriesError, client.Refused, answers.AnswerError, annotations.AnnotationError) as error:
            refused.append((unit.name, str(error)))
    return refused


def _close(output: Path, name: str, version: int) -> int:
    summary = outputs.read_json(output / "summary.json")
    print(
        f"predict: {summary['answered']} answered by {name} version {version}, {summary['skipped']} series skipped, "
        f"{summary['quarantined']} inputs set aside -> {output}"
    )
    return program.QUARANTINED if summary["quarantined"] else program.DONE


def main(argv: Sequence[str]) -> int:
    """Runs the verb."""
    return program.run(sys.modules[__name__], _run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
