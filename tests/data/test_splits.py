"""Whole patients, shares near what was asked, nobody moves."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config, outputs
from radkit.data import splits
from radkit.data.shards import SPLITS
from radkit.errors import UserError


def shares() -> st.SearchStrategy[tuple[float, float, float]]:
    cuts = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted)
    return cuts.map(lambda c: (c[0] / 100, (c[1] - c[0]) / 100, (100 - c[1]) / 100))


@given(st.text(), shares(), st.text())
def test_every_patient_has_a_split_with_a_share(patient: str, wanted: tuple[float, ...], seed: str) -> None:
    split = splits.split_of(patient, wanted, seed)
    assert wanted[SPLITS.index(split)] > 0
    assert split == splits.split_of(patient, wanted, seed)


@given(shares(), st.text(max_size=5))
@settings(max_examples=15, deadline=None)
def test_shares_are_near_what_was_asked(wanted: tuple[float, ...], seed: str) -> None:
    patients = 3000
    found = [splits.split_of(f"P{n}", wanted, seed) for n in range(patients)]
    for split, share in zip(SPLITS, wanted):
        assert abs(found.count(split) / patients - share) < 5 * (0.25 / patients) ** 0.5


def test_a_larger_train_share_moves_nobody_out_of_train() -> None:
    before = {n for n in range(500) if splits.split_of(f"P{n}", (0.5, 0.2, 0.3), "radkit") == "train"}
    after = {n for n in range(500) if splits.split_of(f"P{n}", (0.7, 0.1, 0.2), "radkit") == "train"}
    assert before <= after


def test_another_seed_deals_anew() -> None:
    dealt = [[splits.split_of(f"P{n}", (0.5, 0.0, 0.5), seed) for n in range(100)] for seed in ("a", "b", "c")]
    for one, other in itertools.combinations(dealt, 2):
        assert 25 < sum(x == y for x, y in zip(one, other)) < 75


def test_a_place_is_known_for_ever() -> None:
    # SHA-256 of nothing begins with e3b0c44298fc.
    assert splits.place("") == 0xE3B0C44298FC / 2**48


FOLDS = {"folds": 3, "repeats": 2, "patients": {"a": [0, 2], "b": [1, 1], "c": [2, 0], "d": [0, 1]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set's folder with folds."""
    outputs.write_json(tmp_path / "patients.json", {"train": ["a", "c", "d"], "validation": ["b"], "test": ["e"]})
    outputs.write_json(tmp_path / "folds.json", FOLDS)
    return tmp_path


def of(folder: Path, **trainer: int) -> tuple[list[str], ...]:
    said = config.Trainer(**trainer)  # type: ignore[arg-type]
    return tuple(splits.patients(folder, split, said) for split in SPLITS)


def test_without_a_fold_the_splits_are_those_on_the_disk(folder: Path) -> None:
    assert of(folder) == (["a", "c", "d"], ["b"], ["e"])
    assert all(splits.chosen(folder, split, config.Trainer()) is None for split in SPLITS)
    assert [splits.physical(split, config.Trainer()) for split in SPLITS] == [(split,) for split in SPLITS]


def test_a_fold_is_validated_on_and_the_others_trained(folder: Path) -> None:
    assert of(folder, fold=0) == (["b", "c"], ["a", "d"], ["e"])
    assert of(folder, fold=1, repeat=1) == (["a", "c"], ["b", "d"], ["e"])
    assert splits.chosen(folder, "test", config.Trainer(fold=0)) is None


def test_of_nested_folds_one_is_neither_trained_nor_validated_on(folder: Path) -> None:
    assert of(folder, fold=0, test_fold=2) == (["b"], ["a", "d"], ["c"])
    both = config.Trainer(fold=0, test_fold=2)
    assert {splits.physical(split, both) for split in SPLITS} == {("train", "validation")}


@given(
    st.dictionaries(st.text(min_size=1), st.integers(0, 4), min_size=1), st.permutations(range(5)).map(lambda p: p[:2])
)
@settings(max_examples=50, deadline=None)
def test_every_patient_is_in_one_set_of_a_run_and_tested_in_one_of_all(folds: dict[str, int], two: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        said = {"folds": 5, "repeats": 1, "patients": {patient: [fold] for patient, fold in folds.items()}}
        outputs.write_json(Path(name, "folds.json"), said)
        sets = of(Path(name), fold=two[0], test_fold=two[1])
        assert sorted(itertools.chain(*sets)) == sorted(folds)
        tested = [of(Path(name), fold=(k + 1) % 5, test_fold=k)[2] for k in range(5)]
        assert sorted(itertools.chain(*tested)) == sorted(folds)


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"fold": 3}, "trainer.fold=3: .* has 3, from 0 to 2"),
        ({"fold": 0, "repeat": 2}, "trainer.repeat=2: .* has 2, from 0 to 1"),
        ({"fold": 1, "test_fold": 1}, "trainer.test_fold=1 needs another fold to validate on; trainer.fold is 1"),
        ({"test_fold": 1}, "trainer.test_fold=1 needs another fold to validate on; trainer.fold is -1"),
    ],
)
def test_folds_that_are_not_there_are_refused(folder: Path, trainer: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        of(folder, **trainer)


def test_a_data_set_without_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks for folds, and .* has none"):
        splits.chosen(tmp_path, "train", config.Trainer(fold=0))


def test_what_is_said_of_splits_is_read_and_of_older_data_sets_known(tmp_path: Path) -> None:
    assert splits.told(splits.read(tmp_path)) == "random"
    outputs.write_json(tmp_path / "splits.json", {"test_set": {"type": "random"}, "stratify": ["label", "site"]})
    assert splits.told(splits.read(tmp_path)) == "random, stratified by label and site"
    assert splits.told({"test_set": {"type": "geographic", "sites": ["A", "B"]}}) == "geographic, A and B"
    assert splits.told({"test_set": {"type": "explicit"}}) == "explicit, as listed"
    for damaged in ([], {}, {"test_set": "random"}, {"test_set": {}}):
        outputs.write_json(tmp_path / "splits.json", damaged)
        with pytest.raises(UserError, match=r"splits\.json does not say of what type the test set is; convert again"):
            splits.read(tmp_path)
