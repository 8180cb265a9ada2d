"""De-identifies a folder of DICOM by PS3.15 Annex E: keyed, at every nesting level, with any of its options.

    radkit anonymize --input hospital --output clean --key secret.key --create_key
    radkit anonymize --input hospital2 --output clean2 --key secret.key --options CleanDescriptors
    radkit anonymize --input hospital --output clean --key secret.key --mode pseudonymize --vault hospital.vault
    radkit anonymize --input hospital --output clean --key secret.key --tables labels.csv --keep_columns pneumonia,age
    radkit anonymize --verify clean

Writes `<output>/<PatientID>/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm` (all new values; the same key
gives the same ones again, so keep the key file in the hospital), the tables, `audit/*.jsonl` (what was done to each
element), `conformance.md`, `quarantine.csv`, `summary.json`, `provenance.json`, a DICOMDIR where there was one, and
`pixels.html` where text was looked for. Files that cannot be cleaned are not copied; `quarantine.csv` gives each one's
place in the sorted listing of --input (from 1), a keyed digest of its path, and the reason. Nothing written names an
input file or a patient. A run that was killed goes on where it was when it is started again. --verify looks through any
folder for what the profile takes out. Beam's own flags are passed on (--runner, --direct_num_workers, ...); workers
read the key from its file.

Exit status: 0 done; 1 done, some files were set aside and are listed, or --verify found something; 2 refused.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import anonymize_batch, anonymize_close, headers, runner
from radkit import outputs, program
from radkit.deid import conformance, escrow, files, keys, link_tables, profile, settings, text_in_pixels, vault
from radkit.deid.text_in_pixels import ocr
from radkit.dicom import scan
from radkit.errors import UserError

FLAGS = program.new_flags(data_in="Folder of DICOM files, any depth.", out="Folder to write; must not exist.")
flags.DEFINE_string("key", None, "File with the secret that pseudonyms come from.", flag_values=FLAGS)
flags.DEFINE_bool(
    "create_key", False, "Make the key file first; one that is there is not overwritten.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "options", [], "Options of PS3.15 E.3, separated by commas: " + ", ".join(profile.OPTIONS), flag_values=FLAGS
)
flags.DEFINE_string(
    "unlisted", "clean", "Text that no table lists: clean, or remove all but known labels.", flag_values=FLAGS
)
flags.DEFINE_string(
    "mode", "anonymize", "anonymize: no way back; pseudonymize: an encrypted one, in --vault.", flag_values=FLAGS
)
flags.DEFINE_string(
    "vault", None, "File of the way back, outside --output; extended if it is there.", flag_values=FLAGS
)
flags.DEFINE_string(
    "escrow_certificate", None, "PEM: its owner can decrypt the originals inside each file.", flag_values=FLAGS
)
flags.DEFINE_string("pixel_templates", None, "JSON of known places of burned-in text, by device.", flag_values=FLAGS)
flags.DEFINE_string("verify", None, "Folder to look through instead; needs no key.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "tables",
    [],
    "CSV that goes with the images; PatientID and the UIDs are mapped. May be given again.",
    flag_values=FLAGS,
)
flags.DEFINE_list("keep_columns", [], "Columns of the tables that are kept as they are.", flag_values=FLAGS)

FILES_PER_BATCH = 32
IMAGES_PER_BATCH = 2  # looked at for text, seconds each
MODES = ("anonymize", "pseudonymize")


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    chosen = settings.parse(values["options"].value, values["unlisted"].value)
    if values["verify"].value is not None:
        if beam_flags or not values["verify"].value:
            raise UserError(f"--verify needs a folder and takes no {beam_flags[0] if beam_flags else 'empty name'}")
        said = chosen if values["options"].present else None
        escrowed = values["escrow_certificate"].value is not None
        return anonymize_close.verify(Path(values["verify"].value), said, escrow=escrowed)
    program.required(values, "input", "output", "key")
    runner.refuse_unknown(beam_flags)
    folder, output, key_file = program.input_folder(values), Path(values["output"].value), Path(values["key"].value)
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError("--output lies within --input; name a folder beside it")
    _refuse_within(values, folder, output)
    paths = scan.find(folder)
    if not paths:
        raise UserError(f"--input {folder} holds no files; name a folder with DICOM files")
    create = values["create_key"].value
    # A key that is there is read: the same command again is done, not refused for a new key's other names.
    key = keys.new() if create and not key_file.exists() else keys.read(key_file)
    job = _job(values, chosen, key, key_file)
    tables = link_tables.read([Path(t) for t in values["tables"].value], values["keep_columns"].value, key)
    record = _provenance(paths, folder, job, tables, key)
    if outputs.already_done(output, record):
        if job.keeps_vault and not Path(values["vault"].value).exists():
            raise UserError(f"--output {output} is done, but its --vault is not there; name the one it was made with")
        print("anonymize: already done")
        return anonymize_close.close(output, tables)
    if create and not outputs.can_resume(output, record):  # only now: a refused run writes nothing
        keys.write(key, key_file)
    with outputs.staged(output, record, resumes=True) as aside:
        _clean(paths, folder, aside, job, beam_flags)
        digests = [key.digest(os.fsencode(_name(p, folder))) for p in paths]  # names need not be UTF-8
        anonymize_close.write(aside, chosen, tables, digests, escrow=bool(job.certificate))
        outputs.write_text(aside / "conformance.md", conformance.statement(chosen, record["settings"]))
        if job.keeps_vault:
            parts = sorted((aside / anonymize_batch.VAULT).glob("[0-9]" * 6))  # and none that was half written
            vault.merge(parts, Path(values["vault"].value), key)
        anonymize_close.tidy(aside)
    return anonymize_close.close(output, tables)


def _refuse_within(values: flags.FlagValues, folder: Path, output: Path) -> None:
    """Refuses secrets among the data: in the one folder they would be taken for data, in the other leave with it."""
    for name in ("key", "vault"):
        for place, flag in ((folder, "--input"), (output, "--output")):
            if values[name].value and Path(values[name].value).resolve().is_relative_to(place.resolve()):
                raise UserError(f"--{name} lies within {flag}, which may leave the hospital; keep it elsewhere")


def _job(values: flags.FlagValues, chosen: settings.Settings, key: keys.Key, key_file: Path) -> anonymize_batch.Job:
    """Returns what all batches share; everything that can be refused is refused here, before hours of work."""
    mode, vault_file = values["mode"].value, values["vault"].value
    if mode not in MODES:
        raise UserError(f"--mode={mode!r} was not expected; give {' or '.join(MODES)}")
    if (mode == "pseudonymize") != (vault_file is not None):
        raise UserError("--mode=pseudonymize and --vault FILE belong together; give both or neither")
    if vault_file is not None:
        vault.ready(Path(vault_file), key)
    certificate = _read(values, "escrow_certificate")
    if values["escrow_certificate"].value is not None:
        escrow.recipient(certificate)
    if values["pixel_templates"].value is not None:
        if settings.PIXELS not in chosen.options:
            raise UserError(f"--pixel_templates was given without --options={settings.PIXELS}; give both")
        text_in_pixels.load_templates(Path(values["pixel_templates"].value))
    if settings.PIXELS in chosen.options:
        ocr.check()
    return anonymize_batch.Job(
        root="",
        key_file=str(key_file.resolve()),
        settings=chosen,
        keeps_vault=vault_file is not None,
        certificate=certificate,
        templates=values["pixel_templates"].value or "",
    )


def _read(values: flags.FlagValues, flag: str) -> bytes:
    if values[flag].value is None:
        return b""
    try:
        return Path(values[flag].value).read_bytes()
    except OSError as error:
        raise UserError(f"--{flag} {values[flag].value} cannot be read; name a file of yours") from error


def _provenance(
    paths: Sequence[Path],
    folder: Path,
    job: anonymize_batch.Job,
    tables: Sequence[link_tables.Table],
    key: keys.Key,
) -> Any:
    """Returns what decides the output; whatever could name a patient or a file only as a keyed digest."""
    decides = {
        "profile": profile.EDITION,
        "options": list(settings.ordered(job.settings)),
        "unlisted": job.settings.unlisted,
        "mode": MODES[job.keeps_vault],
        "escrow": key.digest(job.certificate) if job.certificate else "",
        "pixel_templates": key.digest(Path(job.templates).read_bytes()) if job.templates else "",
        "key": key.digest("the key itself"),
        "tables": {t.name: key.digest(json.dumps([t.header, t.rows])) for t in tables},
    }
    return outputs.provenance("anonymize", decides, key.digest(outputs.digest_of_names(paths, folder)))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _clean(
    paths: Sequence[Path], folder: Path, root: Path, job: anonymize_batch.Job, beam_flags: Sequence[str]
) -> None:
    """Writes all files that can be cleaned below `root`, and what became of each; what is there is not done again."""
    if (root / anonymize_close.CLOSING).exists():  # killed while files were moved about: nothing to go on with
        outputs.empty(root)
    for name in (anonymize_batch.PARTS, anonymize_batch.AUDIT, anonymize_batch.VAULT if job.keeps_vault else ""):
        (root / name).mkdir(exist_ok=True)
    done = {part.stem for part in (root / anonymize_batch.PARTS).glob("*.json")}
    batches = [batch for batch in _batches(paths, folder, job, beam_flags) if f"{batch[0]:06d}" not in done]
    if done:
        print(f"anonymize: goes on after {len(done)} batches that an earlier run finished", file=sys.stderr)
    here = anonymize_batch.Job(**{**vars(job), "root": str(root)})

    def build(pipeline: Any, ledger: str) -> None:
        _ = (
            pipeline
            | "Batches" >> beam.Create(batches)
            | beam.Reshuffle()
            | "Clean" >> runner.each(anonymize_batch.clean, here, ledger)
        )

    if batches:
        num_items = sum(len(batch) for _, batch in batches)
        slow = {settings.PIXELS, settings.FEATURES} & job.settings.options
        runner.run(build, beam_flags, num_items=num_items, what="anonymize", pools=len(batches) > 1, slow=bool(slow))
    if done:
        files.sweep(root)


def _batches(
    paths: Sequence[Path], folder: Path, job: anonymize_batch.Job, beam_flags: Sequence[str]
) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """Yields the batches: some files in the listing's order, or one series where faces must be found in volumes."""
    numbered = [(number, os.fsencode(path)) for number, path in enumerate(paths, start=1)]
    if settings.FEATURES not in job.settings.options:
        size = FILES_PER_BATCH if settings.PIXELS not in job.settings.options else IMAGES_PER_BATCH
        yield from runner.batches(numbered, size)
        return
    # Not below the output, as it may leave the hospital: a killed run would leave the old headers there.
    with tempfile.TemporaryDirectory(prefix="radkit-headers-") as aside:
        found, _ = headers.read(folder, Path(aside, "headers"), beam_flags)
    series = {os.fsencode(instance.path): instance["SeriesInstanceUID"] for instance in found}
    groups: dict[str, list[tuple[int, bytes]]] = {}
    for number, path in numbered:
        groups.setdefault(series.get(path, ""), []).append((number, path))
    yield from enumerate(groups.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv))
