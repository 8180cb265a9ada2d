"""A thousand cohorts: nobody on two sides, cuts exact, nobody moved by those who come later."""

import dataclasses
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config, outputs
from radkit.data import convert, splits
from radkit.data.contents import Unit
from radkit.data.shards import SPLITS
from radkit.data.splitting import dealing, patient_strata, sides
from radkit.data.splitting.patients_table import Known
from radkit.errors import UserError

CUT = "2024-01-01"
DAYS = ("2023-05-01", "2023-12-31", CUT, "2024-06-30")
SITES = ("A", "B", "C", "D")
SHARES = ((0.7, 0.1, 0.2), (0.8, 0.1, 0.1), (0.5, 0.0, 0.5), (0.0, 0.6, 0.4), (1.0, 0.0, 0.0))
Test = Literal["random", "temporal", "geographic", "explicit"]
Cohort = tuple[list[Unit], dict[tuple[str, str], Known]]


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Patients with one to four images each; few days and sites, so that many are on both sides of a cut."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    units, known = [], {}
    for patient in range(draw(st.integers(1, 40))):
        side = chance.choice(("train", "validation", "test", "development", "leave_out"))
        home = chance.choice(SITES)
        for number in range(chance.choice((1, 1, 2, 4))):
            unit = Unit(f"{patient}.{number}", f"P{patient}", (), label=chance.choice((0, 0, 0, 1, 2)))
            site = home if chance.random() < 0.8 else chance.choice((*SITES, ""))
            day = chance.choice(DAYS) if chance.random() < 0.9 else ""
            units.append(unit)
            known[unit.patient_id, unit.uid] = Known(day, site, side, (site, ""))
    chance.shuffle(units)
    return units, known


@st.composite
def wanted(draw: st.DrawFn) -> config.Data:
    """What `data.split` may ask for."""
    test: Test = draw(st.sampled_from(("random", "temporal", "geographic", "explicit")))
    shares = draw(st.sampled_from(SHARES))
    split = config.Split(
        test=test,
        test_from=CUT if test == "temporal" else "",
        test_sites=("B", "D") if test == "geographic" else (),
        straddling=draw(st.sampled_from(("leave_out", "train", "test"))),
        stratify=draw(st.sampled_from(((), ("site", "label")))),
        unknown="leave_out",
        folds=draw(st.sampled_from((0, 2, 3, 5))),
    )
    split = dataclasses.replace(split, repeats=draw(st.integers(1, 2)) if split.folds else 1)
    seed = draw(st.sampled_from(("radkit", "other")))
    return config.Data("d", label="x", class_names=("a", "b", "c"), splits=shares, split_seed=seed, split=split)


def deal(cohort: Cohort, data: config.Data, kept: dealing.Kept | None = None) -> dealing.Dealt | None:
    """Returns who is where; None where the cohort is too small for what is asked, which is refused."""
    units, known = cohort
    try:
        return dealing.deal(units, data, known, kept)
    except UserError as error:
        if any(words in str(error) for words in ("nobody who is taken", "names nobody", "data.split.folds=")):
            return None
        raise


@pytest.mark.slow
@given(cohorts(), wanted())
@settings(max_examples=1000, deadline=None)
def test_no_patient_is_on_two_sides_and_cuts_are_exact(cohort: Cohort, data: config.Data) -> None:
    dealt = deal(cohort, data)
    if dealt is None:
        return
    units, known = cohort
    assert len(dealt.units) + dealt.left_out.total() == len(units)
    assert {unit.patient_id for unit in dealt.units} == set(dealt.split_of)  # a mapping: each is on one side
    assert set(dealt.split_of.values()) <= set(SPLITS)
    for unit in dealt.units:
        said = known[unit.patient_id, unit.uid]
        in_test = dealt.split_of[unit.patient_id] == "test"
        if data.split.test == "temporal":
            assert said.day
            assert in_test == (said.day >= CUT)
        if data.split.test == "geographic":
            assert said.site
            assert in_test == (said.site in data.split.test_sites)
        if data.split.test == "explicit":
            assert said.side in (dealt.split_of[unit.patient_id], "development")
            assert in_test == (said.side == "test")
    check_shards(dealt, data)
    check_folds(dealt, data)


def check_shards(dealt: dealing.Dealt, data: config.Data) -> None:
    held = defaultdict[str, set[str]](set)
    for shard in convert.plan(dealt.units, data, dealt.split_of):
        held[shard.split] |= {unit.patient_id for unit in shard.units}
    assert not any(held[one] & held[other] for one, other in itertools.combinations(SPLITS, 2))
    assert set.union(*held.values()) == set(dealt.split_of)


def check_folds(dealt: dealing.Dealt, data: config.Data) -> None:
    developed = {patient for patient, split in dealt.split_of.items() if split != "test"}
    assert set(dealt.folds) == (developed if data.split.folds else set())
    for folds in dealt.folds.values():
        assert len(folds) == data.split.repeats
        assert all(0 <= fold < data.split.folds for fold in folds)


@given(cohorts(), wanted(), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_the_order_of_the_input_does_not_matter(cohort: Cohort, data: config.Data, seed: int) -> None:
    units, known = cohort
    shuffled = random.Random(seed).sample(units, len(units))
    one, other = deal(cohort, data), deal((shuffled, known), data)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.split_of, one.folds, one.left_out) == (other.split_of, other.folds, other.left_out)
        assert one.patients_left_out == other.patients_left_out


def some(cohort: Cohort, share: float) -> Cohort:
    """Returns the cohort before others came: patients by their number."""
    few = [unit for unit in cohort[0] if splits.place(unit.patient_id) < share]
    return few, cohort[1]


@given(cohorts(), wanted(), st.sampled_from((0.3, 0.6, 0.9)))
@settings(max_examples=500, deadline=None)
def test_those_who_come_later_move_nobody(cohort: Cohort, data: config.Data, share: float) -> None:
    before = deal(some(cohort, share), data)
    kept = None
    if before is None:
        return
    if data.split.stratify:  # whose quotas are of all patients: without --keep_splits some would move
        kept = dealing.Kept(before.split_of, before.folds, data.split.folds)
    after = deal(cohort, data, kept)
    if after is not None:
        assert before.split_of.items() <= after.split_of.items()
        assert before.folds.items() <= after.folds.items()


def cohort_of(rows: Sequence[tuple[str, str, str]]) -> Cohort:
    """Returns a cohort of (patient, day, site)."""
    units = [Unit(f"{n}", patient, ()) for n, (patient, _, _) in enumerate(rows)]
    return units, {(u.patient_id, u.uid): Known(day, site) for u, (_, day, site) in zip(units, rows)}


def temporal(**more: object) -> config.Data:
    return config.Data("d", split=config.Split(**{"test": "temporal", "test_from": CUT, **more}))  # type: ignore[arg-type]


class TestStraddling:
    ROWS = [("old", DAYS[0], ""), ("both", DAYS[1], ""), ("both", DAYS[2], ""), ("new", DAYS[3], "")]

    @pytest.mark.parametrize(("what", "taken"), [("leave_out", "03"), ("train", "013"), ("test", "023")])
    def test_only_one_side_of_the_cut_is_taken(self, what: str, taken: str) -> None:
        units, known = cohort_of(self.ROWS)
        dealt = dealing.deal(units, temporal(straddling=what), known)
        assert "".join(unit.uid for unit in dealt.units) == taken
        assert dealt.split_of["new"] == "test"
        assert dealt.split_of["old"] in ("train", "validation")
        assert dealt.left_out == {
            "by data.split.straddling: its patient has images before and from 2024-01-01": 4 - len(taken)
        }
        assert sum(dealt.patients_left_out.values()) == (what == "leave_out")

    def test_a_patient_seen_at_two_sites_is_not_on_two_sides(self) -> None:
        rows = [("one", "", "A"), ("both", "", "A"), ("both", "", "B"), ("other", "", "B")]
        data = config.Data("d", split=config.Split(test="geographic", test_sites=("B",)))
        units, known = cohort_of(rows)
        dealt = dealing.deal(units, data, known)
        assert {p: split == "test" for p, split in dealt.split_of.items()} == {"one": False, "other": True}


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (temporal(), "1 patients have images of which the day that data.split.test='temporal' goes by is not"),
            (temporal(unknown="leave_out", test_from="2030-01-01"), "nobody who is taken has a study of that day"),
        ],
    )
    def test_days_that_are_not_known_and_a_day_that_nobody_reaches(self, data: config.Data, said: str) -> None:
        units, known = cohort_of([("P1", "", ""), ("P2", DAYS[0], "")])
        with pytest.raises(UserError, match=said):
            dealing.deal(units, data, known)

    def test_sites_that_nobody_has(self) -> None:
        data = config.Data("d", split=config.Split(test="geographic", test_sites=("Nord",)))
        units, known = cohort_of([("P1", "", "North")])
        with pytest.raises(UserError, match=r"test_sites=\('Nord',\): nobody .*did you mean 'North'"):
            dealing.deal(units, data, known)

    def test_a_list_that_names_two_sides_of_a_patient(self) -> None:
        units = [Unit("1", "P1", ()), Unit("2", "P1", ())]
        known = {("P1", "1"): Known(side="train"), ("P1", "2"): Known(side="test")}
        with pytest.raises(UserError, match="different sides in its column 'split' for studies of 1 patients"):
            dealing.deal(units, config.Data("d", split=config.Split(test="explicit")), known)

    def test_a_kept_patient_who_would_change_sides(self) -> None:
        units, known = cohort_of([("P1", DAYS[0], ""), ("P2", DAYS[3], "")])
        with pytest.raises(UserError, match="--keep_splits: 1 of 2 patients would come to another side"):
            dealing.deal(units, temporal(), known, dealing.Kept({"P1": "train", "P2": "train"}))

    def test_a_fold_without_anybody(self) -> None:
        data = config.Data("d", split=config.Split(folds=5), splits=(1.0, 0.0, 0.0))
        with pytest.raises(UserError, match=r"data.split.folds=5: fold \d of repeat 0 has none of the 2 patients"):
            dealing.deal([Unit("1", "P1", ()), Unit("2", "P2", ())], data)


class TestStrata:
    def data(self, **more: object) -> config.Data:
        split = config.Split(stratify=("label", "site"), folds=4, repeats=2)
        return dataclasses.replace(config.Data("d", label="x", class_names=("a", "b"), split=split), **more)  # type: ignore[arg-type]

    def test_each_split_and_fold_has_its_share_of_each_kind(self) -> None:
        chance = random.Random(3)
        units, known = [], {}
        for number in range(600):
            unit = Unit(str(number), f"P{number}", (), label=int(chance.random() < 0.1))
            units.append(unit)
            known[unit.patient_id, unit.uid] = Known(site=chance.choice("ABC"))
        dealt = dealing.deal(units, self.data(), known)
        kinds = {u.patient_id: (u.label, known[u.patient_id, u.uid].site) for u in units}
        total, by_split = Counter(kinds.values()), defaultdict[str, Counter[object]](Counter)
        for patient, split in dealt.split_of.items():
            by_split[split][kinds[patient]] += 1
        for split, share in zip(SPLITS, (0.7, 0.1, 0.2)):
            assert by_split[split].total() == 600 * share
            assert all(abs(by_split[split][kind] - total[kind] * share) < 1 for kind in total)
        for repeat in range(2):
            sizes = Counter(folds[repeat] for folds in dealt.folds.values())
            assert sorted(sizes.values()) == [120] * 4
            positive = Counter(folds[repeat] for p, folds in dealt.folds.items() if kinds[p][0])
            assert max(positive.values()) - min(positive.values()) <= 3  # at most one a site

    def test_several_labels_are_spread_alike(self) -> None:
        chance = random.Random(5)
        names = tuple(f"c{n}" for n in range(14))
        data = self.data(label_kind="multi_label", class_names=names)
        flags = [tuple(int(chance.random() < 0.02 * (k + 1)) for k in range(14)) for _ in range(2000)]
        units = [Unit(str(n), f"P{n}", (), label=one, site=chance.choice("AB")) for n, one in enumerate(flags)]
        dealt = dealing.deal(units, data)
        for place in range(14):
            counts = Counter(dealt.split_of[u.patient_id] for u, one in zip(units, flags) if one[place])
            for split, share in zip(SPLITS, (0.7, 0.1, 0.2)):
                assert abs(counts[split] - counts.total() * share) <= 3
        sizes = Counter(dealt.split_of.values())
        assert all(abs(sizes[split] - 2000 * share) <= 3 for split, share in zip(SPLITS, (0.7, 0.1, 0.2)))

    @pytest.mark.parametrize(
        ("kind", "labels"),
        [("regression", [0.5 * n for n in range(80)]), ("survival", [(30.0 * n, n % 4 == 0) for n in range(80)])],
    )
    def test_numbers_are_spread_alike(self, kind: str, labels: list[object]) -> None:
        units = [Unit(str(n), f"P{n}", (), label=label) for n, label in enumerate(labels)]  # type: ignore[arg-type]
        dealt = dealing.deal(units, self.data(label_kind=kind, class_names=(), splits=(0.5, 0.25, 0.25)))
        for quarter in range(4):  # of the numbers, which rise with the patients'
            found = Counter(dealt.split_of[f"P{n}"] for n in range(20 * quarter, 20 * quarter + 20))
            assert abs(found["train"] - 10) <= 2
            assert abs(found["test"] - 5) <= 2

    def test_a_degree_is_the_patients_highest_and_classes_are_all_it_has(self) -> None:
        pairs = [(0, 1), (0, 0)]
        images = [
            sides.Image(Unit(f"{n}{k}", f"P{n}", (), label=label), Known(site="A"))
            for n, pair in enumerate(pairs)
            for k, label in enumerate(pair)
        ]
        found = patient_strata.of(images, self.data(label_kind="ordinal")).stratum
        assert found == {"P0": "A\x001", "P1": "A\x000"}
        assert patient_strata.of(images, self.data()).stratum == {"P0": "A\x000+1", "P1": "A\x000"}


def test_what_was_dealt_before_is_read_from_a_data_set(tmp_path: Path) -> None:
    outputs.write_json(tmp_path / "patients.json", {"train": ["a"], "validation": [], "test": ["b"]})
    assert dealing.read_kept(tmp_path) == dealing.Kept({"a": "train", "b": "test"})
    outputs.write_json(tmp_path / "folds.json", {"folds": 2, "repeats": 1, "patients": {"a": [1]}})
    assert dealing.read_kept(tmp_path / "patients.json") == dealing.Kept({"a": "train", "b": "test"}, {"a": [1]}, 2)
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "folds.json", tmp_path / "empty"):
        with pytest.raises(UserError, match=r"is no data set's folder|must hold one data set"):
            dealing.read_kept(path)


@pytest.mark.parametrize(
    ("patients", "folds"),
    [
        ({"train": 5}, None),
        ({"train": ["a"], "test": ["a"]}, None),
        ({"train": [["a"]]}, None),
        ({"train": ["a"]}, []),
        ({"train": ["a"]}, {"folds": 2, "patients": {"a": [2]}}),
        ({"train": ["a"]}, {"folds": 2, "patients": {"a": ["x"]}}),
        ({"train": ["a"]}, {"folds": "2", "patients": {"a": [1]}}),
        ({"train": ["a"]}, {"folds": 2, "patients": {"a": 1}}),
    ],
)
def test_what_was_changed_by_hand_is_refused(tmp_path: Path, patients: Any, folds: Any) -> None:
    outputs.write_json(tmp_path / "patients.json", patients)
    if folds is not None:
        outputs.write_json(tmp_path / "folds.json", folds)
    with pytest.raises(UserError, match=r"is not as convert wrote it: each patient in one split"):
        dealing.read_kept(tmp_path)


def test_sites_that_are_not_there_are_told_of() -> None:
    data = config.Data("d", split=config.Split(test="geographic", test_sites=("north", "sotuh", "west")))
    units = [Unit(str(n), f"P{n}", (), site=site) for n, site in enumerate(("north", "south", "south"))]
    dealt = dealing.deal(units, data)
    assert [patient for patient, side in dealt.split_of.items() if side == "test"] == ["P0"]
    assert [(found.name, found.text) for found in dealt.findings] == [
        ("remark", "data.split.test_sites: no image is of site 'sotuh' (did you mean 'south'?)"),
        ("remark", "data.split.test_sites: no image is of site 'west'"),
    ]
    with pytest.raises(UserError, match=r"nobody who is taken .*no image is of site 'sotuh' .*name sites that are"):
        dealing.deal(units[1:], data)


def test_an_image_without_a_row_says_itself_where_and_when_it_is_of() -> None:
    data = config.Data("d", split=config.Split(test="temporal", test_from=CUT, stratify=("PatientSex",)))
    units = [
        Unit("1", "P1", (), study_date="20230101", facts=(("PatientSex", "F"),)),
        Unit("2", "P2", (), study_date="20240101", facts=(("PatientSex", "M"),)),
    ]
    assert dealing.deal(units, data).split_of == {"P1": "train", "P2": "test"}
