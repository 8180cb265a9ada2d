"""The verb: what it writes, what stops, what is refused; the same bytes however its work is shared."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_jobs import statistics as job
from beam_jobs import statistics_shard
from radkit import config
from radkit.data import convert, records, shards
from radkit.data.figures import accumulators
from tests.conftest import MadeUp

RESCALE = ("rescale_slope", "rescale_intercept")
FN_API = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the pages are made of; they have tests of their own."""
    given: list[dict[str, Any]] = []

    def write(folder: Path, output: Path, data: config.Data, found: dict[str, Any], rows: list[Any]) -> None:
        given.append({"folder": folder, "output": output, "data": data, "found": found, "rows": rows})

    monkeypatch.setattr(job, "_write_pages", write)
    return given


def run(*flags: object) -> int:
    return job.main(["statistics", *map(str, flags)])


def all_records(made: MadeUp, split: str) -> Iterator[dict[str, Any]]:
    fields = convert.fields_of(made.experiment.data)
    for path in shards.split_files(made.folder, split):
        yield from (records.decode(content, fields) for content in shards.read_shard(path))


def values_of(record: dict[str, Any]) -> np.ndarray:
    slope, intercept = (record[name].astype(np.float64)[:, None, None, None] for name in RESCALE)
    values: np.ndarray = record["image"] * slope + intercept
    return values


@pytest.fixture
def copied(radiographs: MadeUp, tmp_path: Path) -> MadeUp:
    """A data set that a test may change."""
    folder = tmp_path / "squares" / "1.0.0"
    shutil.copytree(radiographs.folder, folder)
    return MadeUp(radiographs.dicom, folder, radiographs.experiment)


def change(made: MadeUp, split: str, **values: object) -> None:
    """Changes a split's first record."""
    fields = convert.fields_of(made.experiment.data)
    path = next(path for path in shards.split_files(made.folder, split) if path.stat().st_size)
    listed = [records.decode(content, fields) for content in shards.read_shard(path)]
    listed[0] = {**listed[0], **values}
    shards.write_shard(path, [records.encode(one, fields) for one in listed])


def test_figures_are_those_of_all_records_together(
    volumes: MadeUp, tmp_path: Path, pages: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--input={volumes.folder}", f"--output={tmp_path / 'out' / 'found.json'}") == 0
    found = json.loads((tmp_path / "out" / "found.json").read_text())
    for split in shards.SPLITS:
        every = list(all_records(volumes, split))
        pooled = np.concatenate([values_of(record).ravel() for record in every])
        drawn = np.concatenate([r["mask"].ravel() for r in every])
        told = found[split]["intensity"]
        np.testing.assert_allclose([told["mean"], told["std"]], [pooled.mean(), pooled.std()], rtol=1e-12)
        inside = [found[split]["foreground"][name] for name in ("percentile_00_5", "median", "percentile_99_5")]
        assert inside == np.percentile(pooled[drawn > 0], (0.5, 50, 99.5)).tolist()
        assert found[split]["records"] == len(every)
        assert set(found[split]["mask"]) == {"shell", "core"}
    assert found["fingerprint"]["median_spacing_mm"] == [2.0, 1.0, 1.5]
    assert [p["output"] for p in pages] == [tmp_path / "out"]
    assert {row["split"] for row in pages[0]["rows"]} == set(shards.SPLITS)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"statistics: {found['train']['records']} train / ")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["anomalies.csv", "found.json"]


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("flag", ["--direct_num_workers=2", f"--runner={FN_API}"])
def test_the_bytes_do_not_depend_on_how_the_work_is_shared(volumes: MadeUp, tmp_path: Path, flag: str) -> None:
    for name, more in {"one": [], "other": [flag]}.items():
        assert run(f"--input={volumes.folder}", f"--output={tmp_path / name / 'statistics.json'}", *more) == 0
    texts = {(tmp_path / name / "statistics.json").read_bytes() for name in ("one", "other")}
    assert len(texts) == 1


@pytest.mark.usefixtures("pages")
def test_images_with_many_different_values_are_looked_at_again(
    volumes: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(f"--input={volumes.folder}", f"--output={tmp_path / 'once.json'}") == 0
    looks: list[int] = []
    write_wanted = statistics_shard.write_wanted
    monkeypatch.setattr(
        statistics_shard, "write_wanted", lambda job, look, asked: (looks.append(look), write_wanted(job, look, asked))
    )
    monkeypatch.setattr(accumulators, "MOST", 50)
    assert run(f"--input={volumes.folder}", f"--output={tmp_path / 'again.json'}") == 0
    assert looks == [1]
    once, again = (json.loads((tmp_path / name).read_text()) for name in ("once.json", "again.json"))
    for found in (once, again):
        for split in shards.SPLITS:
            of_masks = [mask["intensity"] for mask in found[split]["mask"].values()]
            for figures in (found[split]["intensity"], found[split]["foreground"], *of_masks):
                assert sum(figures.pop("histogram")["counts"]) <= figures["voxels"]
        del found["fingerprint"]["foreground_intensity"]["histogram"]
    assert once == again


def test_the_sample_is_the_same_records_whatever_its_size(
    radiographs: MadeUp, tmp_path: Path, pages: list[dict[str, Any]]
) -> None:
    for sample in (0, 3, 7, 2000):
        assert run(f"--input={radiographs.folder}", f"--output={tmp_path / 's.json'}", f"--sample={sample}") == 0
    sizes = [len(page["rows"]) for page in pages]
    every = sum(page["found"][split]["records"] for page in pages[:1] for split in shards.SPLITS)
    assert sizes == [0, 3, 7, every]
    uids = [[row["record_uid"] for row in page["rows"]] for page in pages]
    assert uids[1] == uids[3][:3]
    assert uids[2] == uids[3][:7]
    assert pages[0]["found"] == pages[3]["found"]


@pytest.mark.usefixtures("pages")
def test_a_constant_image_is_named_and_stops_unless_it_is_accepted(
    copied: MadeUp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--input={copied.folder}") == 0
    change(copied, "test", image=np.full((41, 33, 1), 5, np.int16))
    assert run(f"--input={copied.folder}") == 1
    said = capsys.readouterr().out
    assert "statistics: error constant_image (test): 1 of " in said
    assert "; 1 errors (constant_image) and 0 more anomalies -> " in said.splitlines()[-1]
    found = json.loads((copied.folder / "statistics.json").read_text())
    assert [(a["name"], a["where"]) for a in found["anomalies"]] == [("constant_image", "test")]
    (row,) = csv.DictReader((copied.folder / "anomalies.csv").read_text().splitlines())
    assert (row["severity"], row["name"], row["accepted"]) == ("error", "constant_image", "")
    assert run(f"--input={copied.folder}", "--accept=constant_image") == 0
    assert "statistics: accepted: error constant_image" in capsys.readouterr().out


@pytest.mark.usefixtures("pages")
def test_a_data_set_fits_its_own_schema_and_not_after_a_change(
    copied: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "made" / "schema.json"
    assert run(f"--input={copied.folder}", f"--write_schema={schema}") == 0
    assert run(f"--input={copied.folder}", f"--schema={schema}") == 0
    change(copied, "validation", modality="MG")
    assert run(f"--input={copied.folder}", f"--schema={schema}") == 1
    assert "error value_new (validation: modality): 1 of " in capsys.readouterr().out


@pytest.mark.usefixtures("pages")
def test_what_cannot_be_done_is_refused_before_anything_is_measured(
    radiographs: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {
        "--accept=constnt_image": "did you mean",
        "--schema=/nowhere.json": "is no file",
        "--sample=-1": "give a number of records",
        f"--write_schema={tmp_path}": "is a folder",
        f"--output={tmp_path}": "is a folder",
        "--colour=1": "unknown flag '--colour'",
    }
    for flag, message in refused.items():
        assert run(f"--input={radiographs.folder}", flag) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("pages")
def test_a_damaged_shard_is_refused_and_leaves_nothing(copied: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(path for path in shards.split_files(copied.folder, "train") if path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-5])
    before = sorted(copied.folder.iterdir())
    assert run(f"--input={copied.folder}") == 2
    assert "is damaged or cut short" in capsys.readouterr().err
    assert sorted(copied.folder.iterdir()) == before


@pytest.mark.parametrize("name", ["--output", "--write_schema"])
def test_no_other_file_is_overwritten(copied: MadeUp, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in copied.folder.iterdir()}
    for file in ("data.json", "patients.json", "features.json", "fields.md", "datasheet.md", "anomalies.csv"):
        assert run(f"--input={copied.folder}", f"{name}={copied.folder / file}") == 2
        assert f"{name} {copied.folder / file} is " in capsys.readouterr().err
    assert (
        run(f"--input={copied.folder}", f"--output={copied.folder}/s.json", f"--write_schema={copied.folder}/s.json")
        == 2
    )
    assert "name two files" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in copied.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("splits.json", b"{", "splits.json is damaged"),
        ("datasheet.md", "<!-- answer: purpose -->\nfür\n".encode("latin-1"), "is no text in UTF-8"),
        ("data.json", b'{"dataset": "squares"}', "is data.json that of these shards"),
    ],
)
def test_what_is_damaged_beside_the_shards_is_refused_and_leaves_nothing(
    copied: MadeUp, name: str, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied.folder / name).write_bytes(content)
    before = {path.name: path.read_bytes() for path in copied.folder.iterdir()}
    assert run(f"--input={copied.folder}") == 2
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in copied.folder.iterdir()} == before


def test_the_pages_stand_beside_the_figures(radiographs: MadeUp, tmp_path: Path) -> None:
    assert run(f"--input={radiographs.folder}", f"--output={tmp_path / 'statistics.json'}") == 0
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"anomalies.csv", "datasheet.md", "explore.html", "statistics.json"}
