"""Small made-up data sets that several rooms' tests share: written and converted once a session."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from radkit import config
from radkit.dicom import annotations, read_volumes, write

ROOT_UID = "1.2.826.0.1.3680043.10.511"
NUM_PATIENTS = 14

# Machines are shared: a slow example is no failure. The same examples each time: a red run can be run again.
hypothesis.settings.register_profile(
    "radkit", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("radkit")
BLOBS = ("shell", "core")


def pytest_configure(config: pytest.Config) -> None:
    """Lets pass the warnings of others' code that ours cannot avoid."""
    # Keras 3.15 reads TensorFlow's variables so; numpy 2 wants another signature.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't accept:DeprecationWarning")


@dataclass(frozen=True)
class MadeUp:
    """A converted data set: its DICOM, its records and its experiment."""

    dicom: Path
    folder: Path  # the version folder
    experiment: config.Experiment
    labels: Path | None = None

    def config_file(self, folder: Path) -> str:
        """Writes the experiment as a config file and returns its name."""
        path = folder / "experiment.json"
        path.write_text(json.dumps(config.to_json(self.experiment)))
        return str(path)

    def with_trainer(self, **settings: object) -> "MadeUp":
        """Returns the same with other settings of the trainer."""
        trainer = dataclasses.replace(self.experiment.trainer, **settings)
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, trainer=trainer))


def header(modality: str, patient: int, series: int, **more: object) -> dict[str, object]:
    """What a made-up series of a made-up patient says of itself."""
    uid = f"{ROOT_UID}.{patient + 1}"
    return {
        "Modality": modality,
        "PatientID": f"P{patient:03d}",
        "StudyInstanceUID": f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.1.{series + 1}",
        "FrameOfReferenceUID": f"{uid}.9",
        **more,
    }


def blob(sizes: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noise with a bright shell around a brighter core, int16, and its mask, uint8."""
    random = np.random.default_rng(seed)
    middle = np.array(sizes) / 2 + random.uniform(-1, 1, len(sizes))
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in sizes], indexing="ij"), -1)
    distance = np.linalg.norm((grid - middle) / np.array(sizes), axis=-1)
    mask = (distance < 0.32).astype(np.int16) + (distance < 0.2)
    return (random.normal(100, 20, sizes) + 300 * mask).astype(np.int16), mask.astype(np.uint8)


def write_volume(folder: Path, patient: int, sizes: Sequence[int] = (9, 14, 11)) -> None:
    """Writes an MR series and its segmentation; spacing 2.0, 1.0, 1.5 mm."""
    stored, mask = blob(sizes, patient)
    write.write_series(stored, np.diag([1.5, 1.0, 2.0, 1.0]), header("MR", patient, 0), folder / f"{patient}")
    volume = read_volumes(sorted((folder / f"{patient}").glob("*.dcm")))[0]
    annotations.write_seg(mask, volume, BLOBS, folder / f"{patient}" / "seg.dcm")


def write_radiograph(folder: Path, patient: int, number: int, label: int) -> str:
    """Writes one radiograph, brighter in the middle where the label is 1; returns its SeriesInstanceUID."""
    random = np.random.default_rng(100 * patient + number)
    stored = random.normal(500, 50, (1, 40 + patient, 33)).astype(np.uint16)
    stored[:, 10:30, 8:24] += np.uint16(400 * label)
    facts = {"ViewPosition": ("PA", "AP")[patient % 2], "PatientSex": ("F", "M")[patient // 2 % 2]}
    said = header("CR", patient, number, **facts)
    write.write_series(stored, None, said, folder / f"{patient}-{number}")
    return str(said["SeriesInstanceUID"])


def convert(made: MadeUp, output: Path, *flags: str) -> Path:
    """Runs the convert job; returns the version folder."""
    from beam_jobs import convert as job

    said = ["convert", f"--input={made.dicom}", f"--output={output}", f"--config={made.config_file(output.parent)}"]
    said += [f"--labels={made.labels}"] if made.labels else []
    assert job.main([*said, *flags]) == 0
    return output / made.experiment.data.dataset / made.experiment.data.version


def _experiment(data: config.Data, model: str, task: str) -> config.Experiment:
    return config.Experiment(
        data=data,
        model=config.Model(model, {"filters": (4, 8)}),
        task=config.Task(task),
        optimizer=config.Optimizer(learning_rate=1e-2, warmup_steps=1),
        augment=config.Augment(shift=0.05, noise=0.05),
        trainer=config.Trainer(steps=6, batch_size=2, evaluate_every=3, precision="float32", strategy="one"),
    )


def _tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _shared(made: MadeUp) -> Iterator[MadeUp]:
    """Lends a data set to a whole session: a test that writes into it would fail others, by their order."""
    made = dataclasses.replace(made, folder=convert(made, made.folder / "records"))
    before = _tree(made.folder)
    yield made
    assert _tree(made.folder) == before, "a test wrote into records that all tests share; let it copy them"


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeUp]:
    """MR volumes of two sizes with masks, converted into several shards."""
    base = tmp_path_factory.mktemp("volumes")
    for patient in range(NUM_PATIENTS):
        write_volume(base / "dicom", patient, (9, 14, 11) if patient % 2 else (7, 12, 13))
    data = config.Data(
        dataset="blobs", mask_labels=BLOBS, image_size=(8, 12, 12), spacing_mm=(2.0, 1.2, 1.2), size_multiple=4,
        splits=(0.5, 0.25, 0.25), shard_mib=0.01, modalities=("MR",),
    )  # fmt: skip
    yield from _shared(MadeUp(base / "dicom", base, _experiment(data, "unet", "segmentation")))


@pytest.fixture(scope="session")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeUp]:
    """Radiographs, two a patient, with a table of labels."""
    base = tmp_path_factory.mktemp("radiographs")
    rows = ["SeriesInstanceUID,bright"]
    for patient in range(NUM_PATIENTS):
        for number in range(2):
            rows.append(f"{write_radiograph(base / 'dicom', patient, number, number)},{('no', 'yes')[number]}")
    (base / "labels.csv").write_text("\n".join(rows) + "\n")
    data = config.Data(
        dataset="squares", kind="radiograph", label="bright", class_names=("no", "yes"), image_size=(24, 24),
        splits=(0.5, 0.25, 0.25), shard_mib=0.01,
    )  # fmt: skip
    yield from _shared(MadeUp(base / "dicom", base, _experiment(data, "resnet", "classification"), base / "labels.csv"))


@pytest.fixture
def keras_alone() -> Iterator[None]:
    """Puts back what a program sets for the whole process: Keras's policy and TensorFlow's determinism."""
    import keras
    from tensorflow.python.util import _pywrap_determinism

    kept = keras.mixed_precision.global_policy()
    yield
    keras.mixed_precision.set_global_policy(kept)
    _pywrap_determinism.enable(False)


@pytest.fixture(scope="session")
def near_gate() -> Iterator[None]:
    """Lets the export's gate ask in this process, not in a fresh one: that keras is not needed, two tests see."""
    from serving import apart, gate

    def answered(folder: Path, given: gate.Golden) -> dict[str, gate.Arrays]:
        arrays = {f"{group}/{name}": value for group, inputs in given.items() for name, value in inputs.items()}
        return apart.grouped(apart.answered(folder, arrays))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gate, "_apart", answered)
        yield


@pytest.fixture(scope="session")
def run_folders(volumes: MadeUp, radiographs: MadeUp, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task, by the task's name."""
    import keras
    from tensorflow.python.util import _pywrap_determinism

    from trainers import train

    folders = {}
    for made in (volumes, radiographs):
        base = tmp_path_factory.mktemp("run")
        folders[made.experiment.task.name] = base / "run"
        said = [f"--config={made.config_file(base)}", f"--input={made.folder}", f"--output={base / 'run'}"]
        assert train.main(["train", *said]) == 0
    keras.mixed_precision.set_global_policy("float32")
    _pywrap_determinism.enable(False)
    return folders
