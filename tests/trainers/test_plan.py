"""Plans: a config file that trains, its memory, and what is refused."""

import dataclasses
import shutil
from pathlib import Path

import keras
import pytest

from radkit import config, outputs, runs, tasks
from radkit.planning import fingerprint, memory, search, topology, written
from tests.conftest import MadeUp
from trainers import plan

STATISTICS = {
    "train": {"records": 20},
    "fingerprint": {
        "median_size": [9.0, 14.0, 11.0],
        "target_spacing_mm": [2.0, 1.0, 1.5],
        "median_size_at_target_spacing": [9.0, 14.0, 11.0],
        "foreground_intensity": {"percentile_00_5": 300.0, "percentile_99_5": 800.0},
    },
}


@pytest.fixture
def folder(volumes: MadeUp, tmp_path: Path) -> Path:
    """Returns a data set with statistics beside it."""
    copy = tmp_path / "records"
    shutil.copytree(volumes.folder, copy)
    outputs.write_json(copy / "statistics.json", STATISTICS)
    return copy


def call(*flags: object) -> int:
    return plan.main(["plan", *map(str, flags)])


def planned(patch=(16, 64, 48), spacing=(3.0, 0.7, 0.7), **data: object) -> tuple[search.Plan, config.Experiment]:
    """Returns a plan without asking for memory."""
    seen = fingerprint.Fingerprint(spacing, tuple(float(n) for n in patch), 100, 3, (-50.0, 200.0))
    network = topology.of_patch(patch, spacing)
    of_plan = search.Plan(network, 3, memory.Prediction(memory.GIB, 0, 0), seen, 9)
    section = config.Data("made_up", mask_labels=("liver", "spleen"), **data)
    return of_plan, written.experiment(of_plan, section, 200)


def loaded(of_plan: search.Plan, experiment: config.Experiment, folder: Path) -> config.Experiment:
    path = folder / "plan.py"
    path.write_text(written.text(of_plan, experiment, budget_gib=8, precision="float32"))
    return config.load(str(path))


class TestWritten:
    @pytest.mark.parametrize(
        "data",
        [
            {"modalities": ("CT",)},
            {"curate": config.Curate(planes=("axial",)), "split": config.Split(folds=5), "splits": (0.8, 0.0, 0.2)},
        ],
    )
    def test_a_plan_comes_back_from_its_file(self, data: dict, tmp_path: Path) -> None:
        of_plan, experiment = planned(**data)
        assert loaded(of_plan, experiment, tmp_path) == experiment
        said = (tmp_path / "plan.py").read_text()
        assert "# the median of the training images" in said
        assert all(len(line) <= 160 for line in said.splitlines())

    def test_ct_is_windowed_by_its_foreground_and_other_images_are_not(self) -> None:
        _, ct = planned(modalities=("CT",))
        assert (ct.data.normalise, ct.data.window) == ("window", (-50.0, 200.0))
        _, mr = planned(modalities=("MR",))
        assert mr.data.normalise == "zscore"

    def test_a_flat_patch_is_turned_in_its_plane_only(self) -> None:
        assert planned(patch=(16, 64, 48))[1].augment.rotate == (180.0, 0.0, 0.0)
        assert planned(patch=(48, 64, 48), spacing=(1.0, 1.0, 1.0))[1].augment.rotate == (30.0, 30.0, 30.0)

    def test_labels_with_a_side_are_not_mirrored(self) -> None:
        of_plan, _ = planned()
        data = config.Data("x", mask_labels=("left_kidney", "right kidney"))
        assert written.experiment(of_plan, data, 100).augment.flip == ()
        data = config.Data("x", mask_labels=("delta", "heart"))
        assert written.experiment(of_plan, data, 100).augment.flip == (True, True, True)

    def test_a_radiograph_is_fitted_into_its_patch(self, tmp_path: Path) -> None:
        of_plan, experiment = planned((256, 192), (1.0, 1.0), kind="radiograph", image_size=(64, 64))
        assert experiment.data.image_size == (256, 192)
        assert (experiment.data.spacing_mm, experiment.inference.window) == ((), ())
        assert loaded(of_plan, experiment, tmp_path) == experiment


class TestVerb:
    def test_a_plan_is_a_config_that_fits_the_data(
        self, folder: Path, volumes: MadeUp, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "plan.py"
        flags = (f"--input={folder}", f"--output={output}", "--memory_gib=2", "--precision=float32", "--steps=20")
        assert call(*flags) == 0
        assert "patch 9 x 14 x 12" in (said := capsys.readouterr().out)
        assert "predicted memory" in said
        found = config.load(str(output))
        assert found.data.image_size == (9, 14, 12)
        assert dataclasses.replace(
            found.data, image_size=volumes.experiment.data.image_size, spacing_mm=(), size_multiple=8
        ) == dataclasses.replace(volumes.experiment.data, spacing_mm=(), size_multiple=8)
        network = runs.new_network(found, tasks.find("segmentation"))
        assert network.count_params() > 100_000
        assert call(*flags) == 0, "the same plan again is no other file"
        output.write_text("# mine\n")
        assert call(*flags) == 2
        assert output.read_text() == "# mine\n"

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (("--output=plan.json",), "must be a Python file"),
            (("--output=plan.py", "--memory_gib=0"), "must be above 0"),
            (("--output=plan.py", "--memory_gib=nan"), "must be above 0 and finite"),
            (("--output=plan.py", "--statistics=nowhere.json"), "run radkit statistics"),
        ],
    )
    def test_what_cannot_be_planned_is_refused(
        self, folder: Path, flags: tuple, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(f"--input={folder}", *flags) == 2
        assert said in capsys.readouterr().err

    def test_a_data_set_without_masks_is_refused(
        self, radiographs: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(f"--input={radiographs.folder}", f"--output={tmp_path / 'plan.py'}") == 2
        assert "names no label" in capsys.readouterr().err

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("size", "precision"), [((24, 64, 64), "mixed_bfloat16"), ((24, 64, 64), "float32"), ((192, 192), "float32")]
    )
    def test_predicted_memory_is_within_a_fifth_of_measured(
        self, size: tuple[int, ...], precision: str, keras_alone: None
    ) -> None:
        from trainers import strategy

        kind = "volume" if len(size) == 3 else "radiograph"
        _, experiment = planned(size, (2.0, 1.0, 1.0)[-len(size) :], kind=kind, image_size=size)
        strategy.set_precision(precision)
        predicted = plan.step_memory(experiment).total
        assert keras.config.dtype_policy().name == precision, "predicted in another precision"
        measured = plan.measured(experiment, precision)
        print(f"predicted {predicted / memory.GIB:.2f} GiB, measured {measured / memory.GIB:.2f} GiB")
        assert measured == pytest.approx(predicted, rel=0.2)
