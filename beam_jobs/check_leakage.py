"""Looks for what a test set shares with its training set: patients, images, and labels that the header gives away.

    radkit check-leakage --input records/chest --output leakage
    radkit check-leakage --input records/chest --input records/external --output leakage

--input is a data set's folder as convert wrote it, or the data folder when it holds one data set; it may be given
several times. Sides are the splits of each. --output receives:

    leakage.json   counts by kind, the sides, what the header predicts
    shared.csv     patients, studies, series, records and days that lie on several sides
    pairs.csv      pairs of records with identical or near-identical images: turned, mirrored, rescaled, cropped,
                   windowed, noisy ones too; on two sides, or of two patients on one side
    report.html    all of it, with pictures of the pairs

Images of two patients on one side are a leak where the data set has folds, which may part them; elsewhere they are
told and counted. A label that the header alone predicts (lower end of the interval at least --warning_level) is a
warning. Beam's own flags are passed on (--runner, ...).

Exit status: 0 no leak, though perhaps warnings; 1 a leak; 2 refused, nothing written.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import check_leakage_batch, check_leakage_close, runner
from radkit import config, outputs, program
from radkit.data import shards, splits
from radkit.data.leakage import fingerprints, pairs
from radkit.errors import UserError
from radkit.reports import plots

FLAGS = program.new_flags(data_in=None, out="Folder to write; it must not exist.")
flags.DEFINE_multi_string("input", [], "Data set's folder; may be given again.", flag_values=FLAGS)
flags.DEFINE_float(
    "warning_level", 0.7, "Concordance (AUC) from which a label is told by the header.", 0.5, 1.0, flag_values=FLAGS
)
_WORK = "work"
_PAIRS_A_BATCH = 200


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    program.required(values, "input", "output")
    folders = _folders(values["input"].value)
    runner.refuse_unknown(beam_flags)
    plots.matplotlib("image")  # the page's pictures; hours later it would be too late to ask
    output, level = Path(values["output"].value), values["warning_level"].value
    digests = " ".join(shards.digest(folder) for folder in folders.values())
    record = outputs.provenance("check-leakage", {"warning_level": level, "data_sets": list(folders)}, digests)
    if not outputs.already_done(output, record):
        with outputs.staged(output, record) as aside:
            _check(folders, aside, level, beam_flags)
            shutil.rmtree(aside / _WORK)
    return check_leakage_close.told(outputs.read_json(output / check_leakage_close.JSON), output)


def _folders(given: Sequence[str]) -> dict[str, Path]:
    """Returns the data sets' folders by the names that their sides bear."""
    found: dict[str, Path] = {}
    for text in given:
        if not Path(text).is_dir():
            raise UserError(f"--input {text} is no folder; name a data set's folder, as convert wrote it")
        folder = shards.find_dataset(Path(text)).resolve()
        if folder in found.values():
            raise UserError(f"--input {text} is given twice; its splits are compared with each other in any case")
        name = str(outputs.read_json(folder / "dataset_info.json")["name"])
        found[name if name not in found else f"{name} ({len(found) + 1})"] = folder
    return found


def _check(folders: dict[str, Path], aside: Path, level: float, beam_flags: Sequence[str]) -> None:
    work = aside / _WORK
    for name in (check_leakage_batch.LOOKS, check_leakage_batch.CHOSEN, check_leakage_batch.JUDGED):
        (work / name).mkdir(parents=True)
    datas = {name: config.data_from_json(outputs.read_json(f / "data.json")) for name, f in folders.items()}
    listed, of = _shards(folders, datas)
    _each(check_leakage_batch.look, listed, [str(work)], beam_flags, num_items=len(listed), what="look")
    rows = check_leakage_batch.rows_of(work, len(listed))
    if not rows:
        raise UserError("--input holds no records; nothing can be compared")
    store = fingerprints.Store(work / check_leakage_batch.LOOKS, rows)
    near = _near(rows, store, work, len(listed), beam_flags)
    checked = check_leakage_close.Checked(
        rows=rows,
        twice=sorted([*pairs.identical(rows), *near], key=lambda pair: (pair.first, pair.second)),
        data_sets={
            name: (datas[name], [n for n, row in enumerate(rows) if of[row["shard"]] == name]) for name in folders
        },
        folded={row["side"] for row in rows if _has_folds(folders[of[row["shard"]]]) and "test" not in row["side"]},
    )
    check_leakage_close.write(aside, checked, store, level)


def _shards(
    folders: dict[str, Path], datas: dict[str, config.Data]
) -> tuple[list[check_leakage_batch.Shard], dict[int, str]]:
    """Returns all shards, and of which data set each is."""
    listed: list[check_leakage_batch.Shard] = []
    of: dict[int, str] = {}
    for name, folder in folders.items():
        for split in shards.SPLITS:
            for path in shards.split_files(folder, split):
                side = split if len(folders) == 1 else f"{name}: {split}"
                of[len(listed)] = name
                listed.append(check_leakage_batch.Shard(len(listed), side, str(path), datas[name]))
    return listed, of


def _near(
    rows: Sequence[fingerprints.Row], store: fingerprints.Store, work: Path, num_shards: int, beam_flags: Sequence[str]
) -> list[pairs.Pair]:
    chosen = pairs.likely(rows, store)
    numbers = []
    for number, batch in runner.batches(chosen, _PAIRS_A_BATCH):
        outputs.write_json(work / check_leakage_batch.CHOSEN / f"{number}.json", batch)
        numbers.append(number)
    more = [str(work), num_shards]
    _each(check_leakage_batch.judge, numbers, more, beam_flags, num_items=len(chosen), what="compare")
    folder = work / check_leakage_batch.JUDGED
    return [pairs.Pair(**found) for number in numbers for found in outputs.read_json(folder / f"{number}.json")]


def _each(
    function: Any, items: Sequence[Any], more: Sequence[Any], beam_flags: Sequence[str], *, num_items: int, what: str
) -> None:
    def build(pipeline: Any, ledger: str) -> None:
        _ = (
            pipeline
            | "Items" >> beam.Create(list(items))
            | beam.Reshuffle()
            | "Work" >> runner.each(function, *more, ledger)
        )

    if items:
        runner.run(build, beam_flags, num_items=num_items, what=what, pools=True, slow=len(items) > 1)


def _has_folds(folder: Path) -> bool:
    return (folder / splits.FOLDS_JSON).is_file()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
