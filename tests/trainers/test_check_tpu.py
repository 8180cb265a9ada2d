"""`radkit check-tpu`: the step that train takes, looked at for a TPU without one."""

import dataclasses
import json
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from radkit import config
from tests.conftest import MadeUp
from trainers import check_tpu

CONFIGS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs").glob("*.py") if path.stem != "__init__")

# Networks of so many layers that to trace them takes long, and those that others here are like.
LARGE = {"chexpert", "nih_findings", "rsna_pneumonia", "lits", "luna16", "spleen"}

# A network with a layer that counts distinct values, and a loss that prints.
OFFENDING = """
import keras
import tensorflow as tf
from radkit.tasks import classification
import dataclasses

class Distinct(keras.layers.Layer):
    def call(self, x):
        return x * tf.cast(tf.size(tf.unique(tf.reshape(x, [-1])).y), x.dtype)

def build(input_shape, num_classes):
    given = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(4, 3, name="first")(given)
    x = Distinct(name="distinct")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, keras.layers.Dense(num_classes, dtype="float32", name="logits")(x))

def loss(batch, logits):
    tf.print("logits", logits)
    return keras.losses.sparse_categorical_crossentropy(batch["label"], logits, from_logits=True)

TASK = dataclasses.replace(classification.TASK, loss=loss, learn=None)
"""


def experiment(**trainer: object) -> config.Experiment:
    data = config.Data("squares", kind="radiograph", label="x", class_names=("no", "yes"), image_size=(16, 16))
    return config.Experiment(
        data,
        config.Model("resnet", {"filters": (4, 8)}),
        config.Task("classification"),
        augment=config.Augment(shift=0.05),
        trainer=config.Trainer(**{"batch_size": 8, "precision": "float32", **trainer}),
    )


def call(said: config.Experiment, folder: Path, *flags: str) -> int:
    path = folder / "experiment.json"
    path.write_text(json.dumps(config.to_json(said)))
    return check_tpu.main(["check-tpu", f"--config={path}", *flags])


class TestVerb:
    def test_a_config_that_fits_is_told_with_its_memory(
        self, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keras.mixed_precision.set_global_policy("float32")
        assert call(experiment(precision="auto"), tmp_path, "--compile=false") == 0
        said = capsys.readouterr().out
        assert "cores: 8, batch of 1 on each, mixed_bfloat16" in said
        assert "image 1 x 16 x 16 x 1 float32, label 1 int64" in said
        assert "GiB a core by estimate" in said
        assert "refused" not in said
        assert said.endswith("experiment.json fits\n")
        assert keras.config.dtype_policy().name == "float32", "the check left its precision behind"

    def test_layers_and_losses_of_ones_own_are_named_with_their_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras_alone: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "offending_code.py").write_text(OFFENDING)
        monkeypatch.syspath_prepend(tmp_path)
        own = dataclasses.replace(
            experiment(), model=config.Model("offending_code:build"), task=config.Task("offending_code:TASK")
        )
        assert call(own, tmp_path) == 1
        said = capsys.readouterr().out
        unique = next(line for line in said.splitlines() if line.startswith("refused: Unique"))
        assert "layer 'distinct'" in unique
        assert "offending_code.py:9" in unique
        printed = next(line for line in said.splitlines() if line.startswith("refused: PrintV2"))
        assert "offending_code.py:19" in printed
        assert "does not fit a TPU, for " in said

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            ((), "--config must be given"),
            (("--config=no_such",), "no_such"),
            (("--config=chest", "--cores=-1"), "--cores must be 0 or more"),
            (("--config=chest", "--memory_gib=0"), "--memory_gib above 0"),
            (("--config=chest", "--memory_gib=nan"), "--memory_gib above 0"),
            (("--config=chest", "--input=nowhere"), "does not exist"),
        ],
    )
    def test_wrong_use_is_refused(self, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert check_tpu.main(["check-tpu", *flags]) == 2
        assert said in capsys.readouterr().err

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["volumes", "radiographs"])
    def test_records_of_ones_own_are_looked_at(
        self, name: str, request: pytest.FixtureRequest, tmp_path: Path, keras_alone: None
    ) -> None:
        made: MadeUp = request.getfixturevalue(name)
        augment = dataclasses.replace(made.experiment.augment, where="device")
        own = dataclasses.replace(made.experiment, augment=augment)
        assert call(own, tmp_path, f"--input={made.folder}") == 0


class TestSettings:
    """What is told before a step is traced: the batch is spoilt, so that none is."""

    @pytest.fixture(autouse=True)
    def spoilt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        batch = {"image": tf.TensorSpec((1, 16, 16, 1)), "name": tf.TensorSpec((1,), tf.string)}
        monkeypatch.setattr(check_tpu, "_fed", lambda one, folder, aside: (one, batch))

    def test_float16_is_refused_as_training_refuses_it(self) -> None:
        asked = dataclasses.replace(experiment(), trainer=config.Trainer(batch_size=8, precision="mixed_float16"))
        refused = [one.what for one in check_tpu.check(asked).offences if one.is_refused]
        assert refused == ["trainer.precision=mixed_float16", "batch['name']"]

    def test_text_in_the_batch_is_named(self) -> None:
        found = check_tpu.check(experiment())
        assert not found.fits
        assert found.memory is None
        assert [one.what for one in found.offences] == ["batch['name']"]
        said = check_tpu.told("mine", found)
        assert "name 1 string" in said
        assert said.endswith("mine does not fit a TPU, for 1 reason")

    @pytest.mark.parametrize(
        ("trainer", "cores", "used", "said"),
        [
            ({"batch_size": 16}, 0, 8, ""),
            ({"batch_size": 12}, 0, 4, "advice: trainer.batch_size=12"),
            ({"batch_size": 12}, 8, 8, "refused: trainer.batch_size=12: it does not divide by 8 cores"),
            ({"batch_size": 16, "accumulate": 2}, 8, 8, ""),
            ({"batch_size": 16, "accumulate": 4}, 0, 4, "advice: trainer.batch_size=16: it is for 4 of"),
            ({"batch_size": 16, "accumulate": 3}, 8, 8, "make it a multiple of 24"),
            ({"batch_size": 3, "accumulate": 2}, 0, 1, "refused: trainer.batch_size=3"),
            ({"batch_size": 8, "strategy": "mirrored"}, 0, 8, "advice: trainer.strategy=mirrored"),
        ],
    )
    def test_the_batch_is_dealt_to_cores(self, trainer: dict, cores: int, used: int, said: str) -> None:
        found = check_tpu.check(experiment(**trainer), cores=cores)
        assert found.cores == used
        told = "\n".join(one.spell() for one in found.offences if one.what != "batch['name']")
        assert said in told
        assert bool(said) == bool(told)

    @pytest.mark.parametrize("spec", [tf.TensorSpec(None), tf.RaggedTensorSpec((2, None))])
    def test_a_leaf_of_any_kind_is_told(self, spec: tf.TypeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(check_tpu, "_fed", lambda one, folder, aside: (one, {"odd": spec}))
        found = check_tpu.check(experiment())
        assert not found.fits
        assert f"odd of {type(spec).__name__}" in check_tpu.told("mine", found)

    def test_advice_is_not_given_on_cores_that_were_named(self) -> None:
        assert [one.what for one in check_tpu.check(experiment(batch_size=4), cores=4).offences] == ["batch['name']"]


def test_a_core_s_part_is_a_config_as_well() -> None:
    # Where anchors are fitted it is written and read again, and a batch beside without a method would be refused.
    part = check_tpu._of_one_core(experiment(batch_size=4), 4)
    assert part.trainer.batch_size == 1
    assert config.from_json(config.to_json(part)) == part


def test_memory_beyond_a_core_s_is_refused() -> None:
    from radkit.planning import memory

    held = memory.Prediction(memory.GIB, memory.GIB, 3 * memory.GIB)
    assert check_tpu._of_memory(held, 2.0, 8.0) == []
    (one,) = check_tpu._of_memory(held, 2.0, 7.9)
    assert one.is_refused
    assert "at least 8.00 GiB" in one.why


@pytest.mark.parametrize(
    ("shape", "tiles"), [((8, 128), 1), ((9, 128), 2), ((129, 8), 2), ((1, 40, 56, 40, 8), 1600), ((1, 1, 1, 1), 1)]
)
def test_a_tensor_takes_whole_tiles(shape: tuple[int, ...], tiles: int) -> None:
    assert check_tpu.tiled(shape) == tiles * 8 * 128


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in LARGE)) for n in CONFIGS])
def test_every_shipped_config_fits(name: str) -> None:
    found = check_tpu.check(config.load(name), compiles=False)
    assert found.fits, check_tpu.told(name, found)
    assert found.operations > 500
    assert found.memory is not None


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_xla_compiles_every_shipped_config_to_the_end(name: str) -> None:
    found = check_tpu.check(config.load(name))
    assert found.fits, check_tpu.told(name, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": config.Optimizer(name="lamb", average=0.99, schedule="poly")},
        {"optimizer": config.Optimizer(name="sgd", clip_norm=0.0, schedule="constant")},
        {"augment": config.Augment(where="device", flip=(True, True), rotate=(10.0,), mixup=0.2, noise=0.1)},
        {"trainer": config.Trainer(batch_size=16, accumulate=2, precision="float32")},
        {"unlabelled": config.Unlabelled("mean_teacher", batch_size=8)},
        {"unlabelled": config.Unlabelled("pseudo_labels", batch_size=8)},
    ],
)
def test_what_else_a_step_can_be_fits(settings: dict) -> None:
    found = check_tpu.check(dataclasses.replace(experiment(), **settings), compiles=False)
    assert found.fits, check_tpu.told("step", found)
