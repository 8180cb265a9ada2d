"""radkit predict: sends DICOM to a server; JSON, DICOM SEG and SR come back. Needs no TensorFlow.

    radkit predict --server 127.0.0.1:8500 --model hippocampus --input clean --output answers

In: a folder of DICOM, any depth, and a server (`radkit serve`, or TensorFlow Serving with the same export). A model
of volumes gets each image series, a model of radiographs each image: grey, and set on the grid of the records that the
model was trained on (data.colour, data.tilt, data.record_orientation, ...) as its export tells it, with what the
headers say of data.table. What the model was not made for by its Modality or size is set aside, unless --any_modality
is given. Masks come back on the grid of the images as acquired; what the model did not see is 0.

Out: a folder OUTPUT/<SeriesInstanceUID> (with several radiographs in a series: one an image below it) with --formats:
json: answer.json (model and version; by class `probabilities`, `values` with their `unit`, or `volume_ml`; of degrees
also `at_least` and the middle one, `degree`; where the model has an operating point `called` and `thresholds`; of a
detector `boxes`, each with `label`, `score`, its edges `low` and `high` in the voxels of the image as acquired, and,
where the headers say where that lies, `centre_lps_mm` and `sides_mm`); sr: measurements.dcm (the same as a DICOM SR,
TID 1500, boxes with their coordinates); seg: segmentation.dcm (DICOM SEG) where a mask holds anything; capture:
overlay.dcm (a secondary capture: key slices with outlines of masks and boxes) where there is anything to draw; nifti:
mask.nii.gz;
`skipped.csv` (series that are no images), `quarantine.csv` (files and series that were set aside, with reasons),
`summary.json`, `provenance.json`. All answers are given by the same version of the model.

A server that dies, a version that is taken out of service, a disk that is full, or Ctrl-C: what was answered stays
beside OUTPUT, and the same command goes on there, with the same version.

Exit status: 0 done; 1 done, some inputs were set aside and are listed; 2 refused, or stopped before the end.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
from radkit.errors import Unfinished, UserError, did_you_mean, disk_error
from serving import answers, client, fits, overlay, signatures

FLAGS = program.new_flags(data_in="Folder of DICOM files, any depth.", out="Folder to write the answers into.")
flags.DEFINE_string("server", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Name under which the model is served.", flag_values=FLAGS)
flags.DEFINE_float("timeout_s", 300.0, "How long one answer may take.", flag_values=FLAGS, lower_bound=0.001)
flags.DEFINE_list("formats", list(answers.USUAL), f"Of {', '.join(answers.FORMATS)}.", flag_values=FLAGS)
flags.DEFINE_bool("any_modality", False, "Send what the model was not made for, too.", flag_values=FLAGS)
flags.DEFINE_integer("in_flight", 4, "Calls at once; as many images are in memory.", flag_values=FLAGS, lower_bound=1)
flags.DEFINE_bool("tls", False, "Encrypt; the files below imply it.", flag_values=FLAGS)
flags.DEFINE_string(
    "tls_ca", None, "PEM file: who vouches for the server; the system's if not given.", flag_values=FLAGS
)
flags.DEFINE_string("tls_certificate", None, "PEM file: the client's own certificate.", flag_values=FLAGS)
flags.DEFINE_string("tls_key", None, "PEM file: its private key.", flag_values=FLAGS)
flags.DEFINE_string("tls_server_name", "", "The name in the server's certificate, if another.", flag_values=FLAGS)

# One image that cannot be read, sent or answered: it is listed, and the others go on.
_SET_ASIDE = (SeriesError, client.Refused, answers.AnswerError, annotations.AnnotationError)

SKIPPED = "skipped.csv"


@dataclass(frozen=True)
class Unit:
    """What is sent at once: the files of a series, or one radiograph's file."""

    name: str  # the folder of its answer
    series_uid: str
    paths: tuple[Path, ...]
    modality: str = ""


def units(series: Iterable[scan.Series], rank: int) -> list[Unit]:
    """Returns what is sent to a model of this spatial rank, from image series."""
    found = []
    for one in series:
        groups: dict[str, list[scan.Instance]] = {}
        for instance in one.instances:  # files of one SOPInstanceUID are copies, or told apart where they are read
            groups.setdefault("" if rank == 3 else instance["SOPInstanceUID"], []).append(instance)
        for uid, group in groups.items():
            name = one.uid if len(groups) == 1 else f"{one.uid}/{uid}"
            found.append(Unit(name, one.uid, tuple(instance.path for instance in group), group[0]["Modality"]))
    return found


def _run(values: flags.FlagValues, _: list[str]) -> int:
    folder = program.input_folder(values)
    program.required(values, "output", "model")
    formats = _formats(values["formats"].value)
    output, name = Path(values["output"].value), values["model"].value
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError("--output lies in --input, and would be read the next time; name a folder beside it")
    with client.Client(values["server"].value, values["timeout_s"].value, tls=_tls(values)) as server:
        found = server.metadata(name)
        paths = scan.find(folder)
        # Contents, not sizes: two images of one size are common, and an answer must be to this very image.
        digest = outputs.digest_of_files(paths, folder)
        anyway = values["any_modality"].value

        def record_of(version: int) -> dict[str, Any]:
            said = {"model": {"name": name, "version": version}, "formats": formats, "any_modality": anyway}
            return outputs.provenance("predict", said, digest)

        if not outputs.already_done(output, record_of(found.version)):
            found = _begun(server, name, output, found, record_of)
            answers.rank_of(found.signature)
            data = _data(server, name, found)
            asker = _Asker(server, name, found, data, formats, anyway, values["in_flight"].value)
            _predict(folder, paths, output, record_of(found.version), asker)
    return _close(output, name, found.version)


def _begun(
    server: client.Client,
    name: str,
    output: Path,
    newest: client.Metadata,
    record_of: Callable[[int], dict[str, Any]],
) -> client.Metadata:
    """Returns the version that a run which stopped had asked, to go on with it; otherwise the newest.

    Raises:
        UserError: It is served no more: its answers are neither mixed with another's nor thrown away.
    """
    for place, record in outputs.left_behind(output):
        version = record.get("settings", {}).get("model", {}).get("version")
        if version == newest.version or not isinstance(version, int) or record != record_of(version):
            continue
        try:
            return server.metadata(name, version)
        except client.Missing as error:
            raise UserError(
                f"{place} holds answers of version {version} of {name}, which is not served any more: serve it again "
                f"to go on, or remove that folder to begin anew with version {newest.version}"
            ) from error
    return newest


def _formats(asked: Collection[str]) -> list[str]:
    for one in asked:
        if one not in answers.FORMATS:
            known = ", ".join(answers.FORMATS)
            raise UserError(f"--formats {one!r} is none of {known}{did_you_mean(one, answers.FORMATS)}")
    if not asked:
        raise UserError(f"--formats is empty; name some of {', '.join(answers.FORMATS)}")
    return sorted(set(asked))


def _tls(values: flags.FlagValues) -> client.Tls | None:
    ca, certificate, key = (values[f"tls_{name}"].value for name in ("ca", "certificate", "key"))
    server_name = values["tls_server_name"].value
    if not (values["tls"].value or ca or certificate or key or server_name):
        return None
    files = {name: Path(path) for name, path in (("ca", ca), ("certificate", certificate), ("key", key)) if path}
    return client.Tls(**files, server_name=server_name)


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
class _Ready:
    """What an answer is put on: the image as acquired, and the grid that was sent."""

    unit: Unit
    acquired: Volume
    grid: resample.Grid


@dataclass(frozen=True)
class _Asker:
    """One version of one model on one server, how its records were made, and what is asked of it."""

    server: client.Client
    name: str
    found: client.Metadata
    data: config.Data | None
    formats: Collection[str]
    any_modality: bool
    in_flight: int

    def request(self, unit: Unit) -> tuple[_Ready, Mapping[str, np.ndarray]]:
        """Reads one unit, and returns what is sent."""
        if not re.fullmatch(r"[0-9.]+(/[0-9.]+)?", unit.name) or ".." in unit.name:
            raise SeriesError("its UID is not digits and single dots, so that no folder can have its name")
        if not self.any_modality:
            fits.check_modality(unit.modality, self.data)
        volumes = read_volumes(unit.paths, scaling="display")  # as the records it was trained on
        if len(volumes) != 1:
            raise SeriesError(
                f"the series holds {len(volumes)} volumes (orientations, sizes or echoes); one was expected"
            )
        acquired, grid, sent = self._set(volumes[0])
        inputs = answers.inputs_of(sent, answers.rank_of(self.found.signature), self.data)
        fits.check_size(inputs, self.found.signature, None if self.any_modality else self.data)
        return _Ready(unit, acquired, grid), inputs

    def write(self, ready: _Ready, answer: Mapping[str, np.ndarray], folder: Path) -> None:
        """Writes one unit's answer."""
        model = {"name": self.name, "version": self.found.version}
        place = folder / ready.unit.name
        answers.write(answer, ready.acquired, model, place, ready.grid, self.data, self.formats)

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
    skipped = {one.uid: reason for one in series if (reason := _no_image(one))}
    sent = units([one for one in series if one.uid not in skipped], answers.rank_of(asker.found.signature))
    if not sent:
        raise UserError(f"--input {folder} holds no image series ({len(series)} others, {len(unreadable)} unreadable)")
    with outputs.staged(output, record, resumes=True) as aside:
        for half in [*aside.rglob(f"*{answers.PART}")]:  # of a run that was killed
            shutil.rmtree(half)
        refused = _answer_all(sent, asker, aside)
        dead = [*refused.items(), *((path.relative_to(folder).as_posix(), reason) for path, reason in unreadable)]
        outputs.write_csv(aside / SKIPPED, ("series", "reason"), sorted(skipped.items()))
        outputs.write_csv(aside / outputs.QUARANTINE, ("input", "reason"), sorted(dead))
        counts = {"answered": len(sent) - len(refused), "skipped": len(skipped), "quarantined": len(dead)}
        outputs.write_json(aside / "summary.json", counts)


def _no_image(series: scan.Series) -> str:
    """Returns why a series is passed over; empty: it is not."""
    if not series.is_image:
        return f"no image (Modality {series.modality or 'absent'})"
    return "drawn by radkit" if series.instances[0]["SeriesDescription"] == overlay.DESCRIPTION else ""


def _answer_all(sent: Sequence[Unit], asker: _Asker, folder: Path) -> dict[str, str]:
    """Sends each unit that has no answer yet and writes it; returns those set aside with their reasons.

    Raises:
        Unfinished: No server answers any more, the version is gone, the disk is full, or Ctrl-C.
    """
    refused: dict[str, str] = {}
    with tqdm(total=len(sent), desc="predict", unit="series", mininterval=0.5) as bar:
        requests = _requests(sent, asker, folder, refused, bar)
        try:
            for ready, answer in asker.server.stream(asker.name, requests, asker.found.version, asker.in_flight):
                try:
                    if isinstance(answer, client.Refused):
                        raise answer
                    asker.write(ready, answer, folder)
                except _SET_ASIDE as error:
                    refused[ready.unit.name] = str(error)
                bar.update()
        except (client.Gone, client.Missing, OSError, KeyboardInterrupt) as error:
            told = disk_error(error) if isinstance(error, OSError) else str(error) or "interrupted"
            if not told:
                raise
            raise Unfinished(
                f"{told}; {bar.n} of {len(sent)} inputs are done and kept: the same command goes on there"
            ) from error
    return refused


def _requests(
    sent: Sequence[Unit], asker: _Asker, folder: Path, refused: dict[str, str], bar: Any
) -> Iterator[tuple[_Ready, Mapping[str, np.ndarray]]]:
    for unit in sent:
        try:
            request = None if (folder / unit.name).is_dir() else asker.request(unit)
        except _SET_ASIDE as error:
            refused[unit.name] = str(error)
            request = None
        if request is None:
            bar.update()
        else:
            yield request


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
