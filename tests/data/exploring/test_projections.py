"""Projections against numpy; what is told is of patients that were not learned from; outliers are few and right."""

import numpy as np
import pytest

from radkit.data.exploring import projections

NAMES = [f"f{n}" for n in range(12)]


def random(records: int, features: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(records, features))


def test_standard_features_have_median_0_and_far_values_drawn_in():
    table = np.column_stack([random(101, 2) * [5, 0.1] + [100, 3], np.full(101, 7.0)])
    table[0, 0] = 1e6
    found = projections.standard(table)
    assert found.shape == (101, 2)  # the constant one is gone
    np.testing.assert_allclose(np.median(found, axis=0), 0, atol=1e-12)
    assert np.abs(found).max() < 15


def test_a_feature_that_is_mostly_one_value_is_scaled_by_its_deviation():
    table = np.zeros((100, 1))
    table[:5, 0] = 1
    assert np.sinh(projections.standard(table)[0, 0]) == pytest.approx(1 / table.std())


def test_principal_components_are_those_of_the_singular_values():
    features = projections.standard(random(40))
    found = projections.principal(features)
    assert found is not None
    left, spread, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.points), np.abs(left[:, :2] * spread[:2]), atol=1e-9)
    np.testing.assert_allclose(found.shares, spread[:2] ** 2 / (spread**2).sum())


@pytest.mark.parametrize("shape", [(0, 5), (4, 12), (30, 1), (30, 0)])
def test_too_little_is_not_laid_out(shape):
    features = np.zeros(shape)
    groups = ["a", "b"] * 15
    assert projections.principal(features) is None
    assert projections.neighbours(features) is None
    assert projections.discriminant(features, groups[: shape[0]]) is None
    assert projections.told(features, groups[: shape[0]], NAMES[: shape[0]]) is None or shape[1] > 1
    assert projections.outliers(features, features, NAMES) == []


def test_neighbours_keep_heaps_apart_and_are_the_same_each_time():
    features = np.vstack([random(20), random(20, seed=1) + 30])
    first, second = projections.neighbours(features), projections.neighbours(features)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.points, second.points)
    middles = first.points[:20].mean(axis=0), first.points[20:].mean(axis=0)
    within = max(np.linalg.norm(first.points[:20] - middles[0], axis=1))
    assert np.linalg.norm(middles[0] - middles[1]) > within


def test_discriminants_set_groups_apart():
    groups = ["a"] * 30 + ["b"] * 30 + [""] * 5
    features = random(65)
    features[:30, 3] += 9
    found = projections.discriminant(features, groups)
    assert found is not None
    assert found.placed is not None
    assert found.placed.tolist() == [True] * 60 + [False] * 5
    assert np.isnan(found.points[60:]).all()
    first = found.points[:, 0]
    assert first[:30].min() > first[30:60].max() or first[:30].max() < first[30:60].min()


def test_discriminants_of_three_groups_have_two_axes():
    groups = [name for name in "abc" for _ in range(20)]
    features = random(60)
    for place in range(3):
        features[20 * place : 20 * (place + 1), place] += 8
    found = projections.discriminant(features, groups)
    assert found is not None
    middles = [found.points[20 * n : 20 * (n + 1)].mean(axis=0) for n in range(3)]
    assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 3


def test_what_differs_is_told_and_what_does_not_is_not():
    patients = [f"P{n}" for n in range(200)]
    groups = ["a", "b"] * 100
    features = random(200)
    blind = projections.told(features, groups, patients)
    features[::2, 0] += 3
    seen = projections.told(features, groups, patients)
    assert blind is not None
    assert seen is not None
    assert blind.low < 0.5 < blind.high
    assert seen.accuracy > 0.9
    assert seen.low <= seen.accuracy <= seen.high
    assert (seen.chance, seen.groups) == (0.5, ("a", "b"))


def test_nothing_is_learned_of_a_patient_who_is_asked_about():
    # Each patient has a look of their own in 20 records; the group is drawn at random.
    patients = [f"P{n:02d}" for n in range(40) for _ in range(20)]
    looks = np.repeat(random(40, 30, seed=5) * 5, 20, axis=0) + 0.01 * random(800, 30)
    groups = [name for name in np.random.default_rng(1).permutation(["a", "b"] * 20) for _ in range(20)]
    found = projections.told(looks, groups, patients)
    assert found is not None
    assert found.low < 0.5


def test_unequal_groups_do_not_flatter():
    groups = ["often"] * 190 + ["seldom"] * 10
    found = projections.told(random(200), groups, [str(n) for n in range(200)])
    assert found is not None
    assert found.accuracy == pytest.approx(0.5, abs=0.15)


def test_groups_of_few_patients_are_not_asked_about():
    groups = ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    patients = [f"P{n}" for n in range(40)] + ["one"] * 20
    found = projections.told(random(60), groups, patients)
    assert found is not None
    assert found.groups == ("a", "b")
    assert projections.told(random(40), ["a"] * 40, patients[:40]) is None


def test_a_planted_outlier_is_named_with_what_is_unusual():
    table = random(300)
    table[17, [2, 5]] = 40, -25
    (found, *others) = projections.outliers(projections.standard(table), table, NAMES)
    assert found.number == 17
    assert found.times > 1
    assert [name for name, _, _ in found.features[:2]] == ["f2", "f5"]
    assert found.features[0][1] == 40
    assert found.features[0][2] == pytest.approx(np.median(table[:, 2]))
    assert len(others) <= 1


@pytest.mark.parametrize("records", [40, 300])
def test_sets_without_outliers_are_seldom_said_to_have_any(records):
    false = 0
    for seed in range(40):
        table = random(records, seed=seed) @ random(12, 12, seed=99)
        false += bool(projections.outliers(projections.standard(table), table, NAMES))
    assert false <= 8  # 1 in 100 of ideal sets; the robust scales of few records are rough


def test_explained_shares_are_one_way_analysis_of_variance():
    table = np.array([[0.0, 5, 1], [0, 5, 2], [2, 5, 1], [2, 5, 2], [9, 9, 9]])
    found = projections.explained(table, ["a", "a", "b", "b", ""])
    assert found.tolist() == [1, 0, 0]
    assert np.isnan(projections.explained(table, ["a"] * 5)).all()


def test_groups_without_any_spread_are_told_and_not_laid_out():
    features = np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0)
    groups = ["a"] * 30 + ["b"] * 30
    assert projections.discriminant(features, groups) is None
    found = projections.told(features, groups, [str(n) for n in range(60)])
    assert found is not None
    assert found.accuracy == 1


@pytest.mark.parametrize("kind", ["copies", "mostly 0", "whole numbers", "far from 0", "one column"])
def test_odd_tables_are_no_fault(kind):
    for seed in range(6):
        table = random(45, 10, seed=seed)
        table = {
            "copies": np.repeat(table[:5], 9, axis=0),
            "mostly 0": np.where(table > 1.6, 1.0, 0.0),
            "whole numbers": np.round(table),
            "far from 0": table * 1e12 + 1e15,
            "one column": table[:, :1] * np.ones((1, 10)),
        }[kind]
        features = projections.standard(table)
        groups = [("a", "b", "c", "")[n % 4] for n in range(45)]
        projections.principal(features)
        projections.discriminant(features, groups)
        projections.told(features, groups, [str(n // 2) for n in range(45)])
        projections.outliers(features, table, NAMES)
