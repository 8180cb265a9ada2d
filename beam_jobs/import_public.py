"""Turns public sets that are no DICOM into the records that `radkit convert` makes, or into DICOM that it reads.

    radkit import --format nifti --config hippocampus --input Task04_Hippocampus --output out
    radkit import --format png --config chest --input NIH --labels NIH/Data_Entry_2017.csv --modality CR --output out
    radkit import --format coco --config lungs --input set --labels set/boxes.json --modality CR --output out
    radkit import --format png --config chest --input NIH --labels NIH/labels.csv --modality CR --output out --as_dicom

Layouts of --input:

    nifti  The Medical Segmentation Decathlon's (dataset.json with `training`), nnU-Net's raw data (imagesTr,
           labelsTr, case_0000.nii.gz), or folders images and labels with equal names; NIfTI, NRRD, MetaImage. A
           dataset.json says what the masks' values mean, else they are data.mask_labels in order. Images of several
           channels are refused one by one.
    png    PNG, JPEG, TIFF or BMP below the folder (or below its folder images); masks, if data.mask_labels asks for
           them, in a folder masks or Labels with equal names (or --masks).
    coco   Such pictures and a COCO detection file, or a plain JSON list of objects with file, boxes [{category,
           bbox_xywh}] and what is known of the image; the boxes that data.box_labels asks for.

--labels is a CSV with one row an image: its file, and as far as known patient, age, sex, view and the label (the column
data.label; docs/labels.md tells which columns the kinds of labels have). NIH ChestX-ray14's Data_Entry_2017.csv is read
as it is: the class is the one of data.class_names that "Finding Labels" holds, "No Finding" is class 0, images with
other findings alone are left out; with data.label_kind='multi_label' each class is 1 where it stands there, else 0.
OriginalImagePixelSpacing becomes the spacing. Without a column for patients each image is taken as a patient of its
own, and that is said: where the path tells, --patients='SC-[A-Z-]+-[0-9]+' finds it, and the split is by patient.

Records are written as `radkit convert` writes them, see there. With --as_dicom the output is a folder of DICOM under
invented patients for index, anonymize and convert: <PatientID>/<case>/*.dcm, <PatientID>/<case>_segmentation.dcm,
labels.csv and boxes.csv by UID, quarantine.csv (what was set aside, with reasons), summary.json, provenance.json.
Volumes become CT or MR; pictures CR, or of another --modality secondary captures. UIDs are derived from the data set's
name and the image's, so that both ways give the same.

Exit status: 0 done; 1 done, some inputs were set aside and are listed; 2 refused or interrupted, nothing written.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, get_args

from absl import flags
from tqdm import tqdm

from beam_jobs import convert, convert_shard, runner
from radkit import config, outputs, program
from radkit.data import convert as series_to_records
from radkit.data import public, public_cases, public_dicom
from radkit.dicom import scan
from radkit.errors import UserError

FLAGS = program.new_flags(data_in="Folder of the public set.", out="Data folder, or folder of DICOM.", config=True)
flags.DEFINE_enum("format", None, get_args(public_cases.Format), "How the set is laid out.", flag_values=FLAGS)
flags.DEFINE_string("labels", None, "CSV with one row an image; of coco, the JSON of boxes.", flag_values=FLAGS)
flags.DEFINE_string("masks", None, "Folder of the masks, below --input or elsewhere.", flag_values=FLAGS)
flags.DEFINE_string("modality", "", "Modality of the images, where the set does not say it.", flag_values=FLAGS)
flags.DEFINE_string("body_part", "", "BodyPartExamined of the images, as CHEST.", flag_values=FLAGS)
flags.DEFINE_string(
    "patients", "", "Regular expression that finds the patient in an image's path below --input.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "mask_names", [], "What a mask's value means, as 1=liver; may be given again.", flag_values=FLAGS
)
flags.DEFINE_boolean("as_dicom", False, "Whether to write DICOM of invented patients.", flag_values=FLAGS)

LABELS, BOXES, SUMMARY = "labels.csv", "boxes.csv", "summary.json"


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    program.required(values, "format", "input", "config", "output")
    runner.refuse_unknown(beam_flags)
    data = config.load(values["config"].value, values["set"].value).data
    asked = _asked(values)
    output = Path(values["output"].value)
    if values["as_dicom"].value:
        return _dicom(asked, data, output, beam_flags)

    def select(_: convert_shard.Job) -> tuple[series_to_records.Selected, list[tuple[str, str]]]:
        chosen = public.select(asked, data)
        units = public.units(chosen, asked, data)
        return series_to_records.Selected(units, chosen.left_out, chosen.findings), chosen.refused

    said = {"set": _settings(asked, data)["set"]}
    return convert.write_dataset("import", asked.folder, output, data, select, beam_flags, public.tables(asked), said)


def _asked(values: flags.FlagValues) -> public_cases.Asked:
    folder = program.input_folder(values).resolve()
    labels, masks = values["labels"].value, values["masks"].value
    return public_cases.Asked(
        format=values["format"].value,
        folder=folder,
        labels=Path(labels).resolve() if labels else None,
        masks=_masks(folder, masks) if masks else None,
        modality=values["modality"].value.upper(),
        body_part=values["body_part"].value.upper(),
        patients=values["patients"].value,
        mask_names=tuple(_mask_name(text) for text in values["mask_names"].value),
    )


def _masks(folder: Path, named: str) -> Path:
    found = next((path for path in (folder / named, Path(named)) if path.is_dir()), None)
    if found is None:
        raise UserError(f"--masks {named} is no folder, neither below --input nor here")
    return found.resolve()


def _mask_name(text: str) -> tuple[int, str]:
    value, equals, label = text.partition("=")
    if not (value.isdecimal() and equals and label):
        raise UserError(f"--mask_names={text!r}: a value and its label were expected, as 1=liver")
    return int(value), label


def _dicom(asked: public_cases.Asked, data: config.Data, output: Path, beam_flags: Sequence[str]) -> int:
    if output.resolve().is_relative_to(asked.folder):
        raise UserError("--output lies in --input, and would be read the next time; name a folder beside it")
    record = outputs.provenance("import", _settings(asked, data), _digest(asked))
    done = outputs.already_done(output, record)
    if not done:
        _write(asked, data, output, record, beam_flags)
    summary = outputs.read_json(output / SUMMARY)
    told = ", ".join(f"{count} {name}" for name, count in summary["findings_by_name"].items())
    print(
        f"import: {'already done: ' if done else ''}{summary['images']} images of {summary['patients']} invented "
        f"patients as {summary['files']} DICOM files; {summary['left_out']} images left out by the config; "
        f"{summary['quarantined']} set aside{f'; findings: {told}' if told else ''} -> {output}"
    )
    return program.QUARANTINED if summary["quarantined"] else program.DONE


def _settings(asked: public_cases.Asked, data: config.Data) -> dict[str, Any]:
    said = {k: v for k, v in dataclasses.asdict(asked).items() if k not in ("folder", "labels", "masks")}
    return {"data": config.data_to_json(data), "set": said, "as_dicom": True}


def _digest(asked: public_cases.Asked) -> str:
    parts = [outputs.digest_of_names(scan.find(asked.folder), asked.folder)]
    return "+".join([*parts, *(outputs.digest_of_files([path], path.parent) for path in public.tables(asked))])


def _write(
    asked: public_cases.Asked, data: config.Data, output: Path, record: dict[str, Any], beam_flags: Sequence[str]
) -> None:
    selection = public.select(asked, data)
    if not selection.cases:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in selection.left_out.most_common(3)) or "no image"
        raise UserError(f"--input holds nothing for data set {data.dataset!r}: {reasons}")
    jobs = public_dicom.jobs(selection, asked, data)
    with outputs.staged(output, record) as aside:
        done = list(_each(jobs, aside, runner.local_workers(beam_flags, len(jobs))))
        _close(aside, jobs, done, selection, asked, data)


def _each(jobs: Sequence[public_dicom.Job], folder: Path, processes: int) -> Iterator[public_dicom.Written]:
    """Yields what came of each case, in their order, with a progress bar."""
    if processes < 2:
        yield from (public_dicom.write_case(job, folder) for job in tqdm(jobs, desc="import", unit="image"))
        return
    with ProcessPoolExecutor(processes) as pool:
        futures: list[Future[public_dicom.Written]] = [
            pool.submit(public_dicom.write_case, job, folder) for job in jobs
        ]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc="import", unit="image"):
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        yield from (future.result() for future in futures)


def _close(
    folder: Path,
    jobs: Sequence[public_dicom.Job],
    done: Sequence[public_dicom.Written],
    selection: public.Selection,
    asked: public_cases.Asked,
    data: config.Data,
) -> None:
    """Writes the tables, and what came of all.

    Raises:
        UserError: Nothing could be written.
    """
    paths = [job.case.image.relative_to(asked.folder).as_posix() for job in jobs]
    refused = [*selection.refused, *((path, one.reason) for path, one in zip(paths, done) if one.reason)]
    written = [job for job, one in zip(jobs, done) if not one.reason]
    if not written:
        reasons = Counter(one.reason for one in done).most_common(3)
        raise UserError(f"all {len(jobs)} images were refused: " + "; ".join(f"{n} x {why}" for why, n in reasons))
    if data.label or data.report:
        rows = (one.label for one in done if one.label)
        outputs.write_csv(folder / LABELS, public_dicom.label_columns(data), rows)
    if data.box_labels:
        outputs.write_csv(folder / BOXES, public_dicom.BOX_COLUMNS, (row for one in done for row in one.boxes))
    outputs.write_csv(folder / outputs.QUARANTINE, ("input", "reason"), refused)
    findings: Counter[str] = Counter()
    for finding in selection.findings:
        findings[finding.name] += finding.count
    if empty := sum(one.is_empty for one in done):
        findings["empty_segment"] += empty
    summary = {
        "images": len(written),
        "patients": len({job.case.patient for job in written}),
        "files": sum(one.num_files for one in done),
        "without_segmentation": empty,
        "left_out": sum(selection.left_out.values()),
        "left_out_by_reason": dict(selection.left_out),
        "quarantined": len(refused),
        "quarantined_by_reason": dict(Counter(reason for _, reason in refused)),
        "findings": [f"{finding.name}: {finding.text}" for finding in selection.findings],
        "findings_by_name": dict(sorted(findings.items())),
    }
    outputs.write_json(folder / SUMMARY, summary)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
