"""Settings: what is wrong is refused with its name, what is right comes back equal."""

import dataclasses
import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.errors import UserError

GOOD = config.Experiment(config.Data("brains"), config.Model("unet", {"filters": (8, 16)}), config.Task("segmentation"))
CONFIGS = sorted(p.stem for p in (Path(__file__).parents[1] / "configs").glob("*.py") if p.stem[0] != "_")


def changed(section, **fields):
    """Returns GOOD as JSON values with fields of a section replaced."""
    values = config.to_json(GOOD)
    values[section] |= fields
    return values


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(config.to_json(GOOD)))
    return str(path)


def test_a_misspelt_field_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"'data\.image_sise' \(did you mean 'image_size'\?\); there are: dataset"):
        config.from_json(changed("data", image_sise=(1, 2, 3)))


def test_a_misspelt_section_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"'trainr' \(did you mean 'trainer'"):
        config.from_json({**config.to_json(GOOD), "trainr": {}})


@pytest.mark.parametrize("section", ["data", "model", "task"])
def test_a_missing_section_or_name_is_refused(section):
    values = config.to_json(GOOD)
    del values[section]
    with pytest.raises(UserError, match=f"'{section}' is missing"):
        config.from_json(values)
    with pytest.raises(UserError, match=f"'{section}.(name|dataset)' is missing"):
        config.from_json({**config.to_json(GOOD), section: {}})


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        ("trainer", "steps", True, "trainer.steps must be int, not True"),
        ("trainer", "steps", 2.0, "trainer.steps must be int, not 2.0"),
        ("trainer", "steps", "10", "trainer.steps must be int, not '10'"),
        ("trainer", "deterministic", 1, "trainer.deterministic must be bool, not 1; write True or False"),
        (
            "trainer",
            "strategy",
            "gpu",
            "trainer.strategy must be one of 'auto', 'one', 'mirrored', 'multi_worker', 'tpu',",
        ),
        ("optimizer", "learning_rate", "fast", "optimizer.learning_rate must be float, not 'fast'"),
        ("optimizer", "learning_rate", False, "optimizer.learning_rate must be float, not False"),
        ("optimizer", "learning_rate", float("nan"), "must be a finite number"),
        ("optimizer", "learning_rate", 10**400, "must be a finite number"),
        ("optimizer", "warmup_steps", -1, "optimizer.warmup_steps must be at least 0, not -1"),
        ("data", "modalities", "CT", "data.modalities must be a sequence, as (1, 2), not 'CT'"),
        ("data", "modalities", ("CT", 3), "data.modalities[1] must be str, not 3"),
        ("data", "image_size", (64, 64, True), "data.image_size[2] must be int, not True"),
        ("data", "image_size", (64, 64), "data.image_size must be 3 sizes > 0"),
        ("data", "image_size", (), "data.image_size must be 3 sizes > 0"),
        ("data", "spacing_mm", (1, 1, 0), "data.spacing_mm must be empty or 3 values > 0"),
        ("data", "window", (1,), "data.window must have 2 values"),
        ("data", "window", (5, 5), "low < high"),
        ("data", "splits", (0.5, 0.5), "three shares"),
        ("data", "splits", (0.5, 0.5, 0.5), "add to 1"),
        ("data", "splits", (1.5, -0.5, 0.0), "three shares"),
        ("data", "size_multiple", 0, "data.size_multiple must be at least 1"),
        ("data", "dataset", None, "data.dataset must be str, not None"),
        ("data", "dataset", "../brains", "data.dataset"),
        ("data", "dataset", "", "data.dataset"),
        ("data", "version", "2", "data.version"),
        ("data", "curate", {"num_slices": (9, 2)}, "data.curate.num_slices must be empty or (least, most)"),
        ("data", "curate", {"pixel_spacing_mm": (1.0,)}, "data.curate.pixel_spacing_mm must be empty or"),
        ("data", "curate", {"planes": ("transverse",)}, "'transverse' is none of axial, coronal"),
        ("data", "curate", {"plane": ("axial",)}, "no setting 'data.curate.plane' (did you mean 'planes'?)"),
        ("data", "annotations", {"overlap": "second"}, "data.annotations.overlap must be one of 'refuse'"),
        ("data", "annotations", {"fraction": 0.0}, "data.annotations.fraction must be above 0 and at most 1"),
        ("data", "annotations", {"reference_standards": ("histolgy",)}, "did you mean 'histology'"),
        ("data", "annotations", {"keep_readers": True}, "data.mask_labels asks for none"),
        ("data", "mask_labels", ("a", "a"), "data.mask_labels must name each label once"),
        ("data", "class_names", ("no", "y\nes"), "data.class_names must be names without line breaks and blanks"),
        ("data", "box_labels", ("a ",), "data.box_labels must be names without line breaks and blanks"),
        ("data", "class_names", ("", "a"), "data.class_names must be names without line breaks and blanks"),
        ("augment", "flip", (True, False), "augment.flip must be empty or 3 values"),
        ("augment", "noise", -0.1, "augment.noise must be at least 0"),
        ("trainer", "batch_size", 0, "trainer.batch_size must be at least 1, not 0"),
        ("model", "settings", [1], "model.settings must hold names and values"),
        ("model", "settings", {"filters": {1, 2}}, "model.settings.filters must be a number"),
        ("model", "settings", {"a": {"b": [float("inf")]}}, "model.settings.a.b[0] must be a number"),
        ("model", "settings", {3: 4}, "model.settings must hold names and values"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(section, field, value, said):
    with pytest.raises(UserError) as caught:
        config.from_json(changed(section, **{field: value}))
    assert said in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "x", 3, {"data": []}])
def test_what_is_no_config_at_all_is_refused(values):
    with pytest.raises(UserError):
        config.from_json(values)


def test_a_radiograph_has_two_sizes():
    values = changed("data", kind="radiograph", image_size=[32, 16])
    assert config.from_json(values).data.image_size == (32, 16)


WORDS = st.text(string.ascii_letters + "äß _-\\\"'\n", max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
SHARE = st.floats(0, 1)


@st.composite
def experiments(draw):
    rank = draw(st.sampled_from([2, 3]))
    train = draw(SHARE)
    some = {
        "modalities": draw(st.lists(WORDS, max_size=2).map(tuple)),
        "label": draw(WORDS),
        "splits": (train, 1 - train, 0.0),
        "spacing_mm": draw(st.just(()) | st.tuples(*[st.floats(0.1, 9)] * rank)),
        "image_size": draw(st.tuples(*[st.integers(1, 999)] * rank)),
    }
    return config.Experiment(
        data=config.Data(draw(st.sampled_from("abc")), ("radiograph", "volume")[rank - 2], **some),
        model=config.Model(draw(WORDS), draw(st.dictionaries(WORDS, PLAIN, max_size=3))),
        task=config.Task(draw(WORDS)),
        optimizer=config.Optimizer(learning_rate=draw(st.floats(0, 2**31 - 1, exclude_min=True))),
        augment=config.Augment(flip=draw(st.just(()) | st.tuples(*[st.booleans()] * rank))),
        trainer=config.Trainer(steps=draw(st.integers(1, 2**31 - 1)), deterministic=draw(st.booleans())),
    )


@given(experiments())
def test_json_gives_back_the_same_experiment(experiment):
    assert config.from_json(json.loads(json.dumps(config.to_json(experiment)))) == experiment


@given(experiments())
def test_every_field_is_in_the_json(experiment):
    for section in dataclasses.fields(experiment):
        names = {f.name for f in dataclasses.fields(getattr(experiment, section.name))}
        assert set(config.to_json(experiment)[section.name]) == names


@pytest.mark.slow
@given(st.recursive(st.none() | st.integers() | WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)))
def test_any_json_is_read_or_refused(values):
    with pytest.raises(UserError):
        config.from_json(values)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("trainer.steps=7", lambda e: e.trainer.steps == 7),
        ("optimizer.learning_rate=1", lambda e: e.optimizer.learning_rate == 1.0),
        ("data.image_size=(8,16,24)", lambda e: e.data.image_size == (8, 16, 24)),
        ("data.image_size=[8, 16, 24]", lambda e: e.data.image_size == (8, 16, 24)),
        ("data.image_size=8,16,24", lambda e: e.data.image_size == (8, 16, 24)),
        ("data.modalities=('CT',)", lambda e: e.data.modalities == ("CT",)),
        ("data.label=a=b", lambda e: e.data.label == "a=b"),
        ("data.label=", lambda e: e.data.label == ""),
        ("data.label='7'", lambda e: e.data.label == "7"),
        ("data.version=2.0.1", lambda e: e.data.version == "2.0.1"),
        ("trainer.deterministic=False", lambda e: e.trainer.deterministic is False),
        ("model.settings.filters=(4,)", lambda e: e.model.settings == {"filters": (4,)}),
        ("model.settings.dropout=None", lambda e: e.model.settings["dropout"] is None),
        ("model.settings={'depth': 2}", lambda e: e.model.settings == {"depth": 2}),
    ],
)
def test_an_override_sets_one_field(saved, override, found):
    assert found(config.load(saved, [override]))


def test_the_last_override_holds(saved):
    assert config.load(saved, ["trainer.steps=7", "trainer.steps=8"]).trainer.steps == 8


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.steps", "has no '='"),
        ("trainer.stps=3", "did you mean 'steps'"),
        ("trianer.steps=3", "'trianer' (did you mean 'trainer'?)"),
        ("trainer.steps.more=3", "'trainer.steps' is one value"),
        ("trainer=3", "trainer must hold fields"),
        ("data.label=None", "data.label must be str, not None"),
        ("data.label=7", "data.label must be str, not 7"),
        ("trainer.deterministic=true", "must be bool, not 'true'"),
        ("data.modalities=CT", "must be a sequence"),
        ("model.settings.a={[]: 1}", ""),
        ("model.settings.a={1, 2}", "model.settings.a must be a number"),
        ("model.settings.a=b'x'", "model.settings.a must be a number"),
        ("=3", "no setting ''"),
        ("trainer.=3", "no setting 'trainer.'"),
        ("a\nb=3", "no setting"),
    ],
)
def test_a_wrong_override_is_refused(saved, override, said):
    if said:
        with pytest.raises(UserError) as caught:
            config.load(saved, [override])
        assert said in str(caught.value)
    else:  # what is no value of Python's is a text
        assert config.load(saved, [override]).model.settings["a"] == "{[]: 1}"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_found_by_name_and_by_file(name):
    experiment = config.load(name)
    assert experiment == config.load(str(Path(__file__).parents[1] / "configs" / f"{name}.py"))
    assert config.from_json(config.to_json(experiment)) == experiment


def test_a_runs_config_is_read_back(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"experiment": config.to_json(GOOD), "data": "digest"}))
    assert config.load(str(path)) == GOOD


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(UserError, match=r"'hipocampus' \(did you mean 'hippocampus'\?\); there are: .*chest"):
        config.load("hipocampus")


@pytest.mark.parametrize("name", ["no.py", "no.json", ".", "", "configs/hippocampus", "a/b.json"])
def test_a_file_that_is_not_there_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        config.load(name)


BROKEN = {
    "syntax": "def get_config(:",
    "missing": "x = 1",
    "import": "import no_such_package_at_all",
    "name": "def get_config():\n    return nothing",
    "key": "def get_config():\n    return {}['a']",
    "division": "1 / 0",
    "exit": "import sys\nsys.exit(3)",
    "exit later": "import sys\ndef get_config():\n    sys.exit(0)",
    "keyword": "from radkit.config import Data\ndef get_config():\n    return Data(dataset='a', datset=1)",
    "nothing": "def get_config():\n    return None",
    "half": "from radkit.config import *\ndef get_config():\n    return Experiment(Data('a'), Model('b'), None)",
    "wrong": "from radkit.config import *\ndef get_config():\n"
    "    return Experiment(Data('a', window='b'), Model('b'), Task('c'))",
    "null": "\0",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_config_file_is_told_in_one_message(kind, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN[kind])
    with pytest.raises(UserError):
        config.load(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"data": NaN}', b"null"])
def test_a_broken_json_is_told_in_one_message(content, tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError):
        config.load(str(path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label_kind": "ordinal"}, "data.label_kind='ordinal' is of labels; name their column in data.label"),
        ({"label_kind": "ordinal", "label": "x", "class_names": ["a"]}, "data.class_names must be 2 or more names"),
        ({"label_kind": "multi_label", "label": "x"}, "data.class_names must be 1 or more names"),
        ({"label_kind": "regression", "label": "x", "class_names": ["a"]}, "data.class_names must be empty"),
        ({"label_range": (2.0, 1.0)}, "data.label_range must be"),
        ({"label_kind": "survival", "label": "x"}, "data.event must be the column that says whether"),
        ({"label": "x", "class_names": ["a", "b"], "event": "y"}, "data.event must be empty where"),
        ({"label": "x", "class_names": ["a", "b"], "label_unit": "mm"}, "data.label_unit must be empty where"),
        ({"label_kind": "survival", "label": "x", "event": "x"}, "'x' is named more than once"),
        ({"label_kind": "regression", "label": "x", "report": "x"}, "'x' is named more than once"),
        ({"label_kind": "multi_label", "label": "x", "class_names": ["a", "b"], "report": "b"}, "'b' is named more"),
        ({"label_kind": "multi_label", "label": "x", "class_names": ["a|b"]}, "names without '|' and blanks"),
        ({"label_kind": "multi_label", "label": "x", "class_names": ["a_b", "A b"]}, "must differ in more than"),
        (
            {"label_kind": "multi_class", "label": "x"},
            "data.label_kind must be one of 'class', 'multi_label', 'ordinal'",
        ),
    ],
)
def test_labels_must_fit_their_kind(settings, said):
    with pytest.raises(UserError, match=re.escape(said)):
        config.from_json(changed("data", **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"label_kind": "multi_label", "label": "a", "class_names": ["a"]},
        {"label_kind": "multi_label", "label": "x", "class_names": ["a", "b"], "report": "text"},
        {"label_kind": "ordinal", "label": "x", "class_names": ["1", "2"]},
        {"label_kind": "regression", "label": "x", "label_unit": "mm"},
        {"label_kind": "survival", "label": "x", "event": "y", "label_unit": "days"},
        {"report": "text"},
    ],
)
def test_labels_of_every_kind_are_settings(settings):
    found = config.from_json(changed("data", **settings)).data
    assert {name: getattr(found, name) for name in settings} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
