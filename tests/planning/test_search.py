"""The search: nnU-Net's patches when memory is counted as it counts it, and a budget that is kept."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.planning import search
from radkit.planning.fingerprint import Fingerprint
from radkit.planning.memory import Prediction

# What nnU-Net v2 (2.8.1) plans for 8 GB: spacing, median size, records, classes; patch, batch. It counts convolutions'
# outputs against those of a network that fills 8 GB with a batch of 2 (3-D) or 12 (2-D).
OF_NNUNET = [
    ((1, 1, 1), (36, 50, 35), 208, 3, (40, 56, 40), 7),
    ((1.37, 1.25, 1.25), (115, 320, 232), 16, 2, (80, 192, 160), 2),
    ((3.6, 0.62, 0.62), (20, 320, 319), 25, 3, (20, 320, 256), 2),
    ((1.6, 0.79, 0.79), (187, 512, 512), 33, 2, (64, 192, 160), 2),
    ((2.5, 0.8, 0.8), (96, 512, 512), 224, 3, (40, 224, 224), 2),
    ((1, 1, 1), (138, 170, 138), 387, 4, (128, 128, 128), 2),
    ((1.24, 0.79, 0.79), (252, 512, 512), 50, 2, (80, 192, 160), 2),
    ((1, 1), (512, 512), 100, 2, (512, 512), 5),
    ((1, 1), (2000, 1500), 400, 3, (1536, 1024), 2),
]
REFERENCE = {2: (85e6, 12), 3: (560e6, 2)}


@pytest.mark.parametrize(("spacing", "median", "records", "classes", "patch", "batch"), OF_NNUNET)
def test_plans_are_nnunets_when_memory_is_counted_as_it_does(spacing, median, records, classes, patch, batch):
    budget, of_batch = REFERENCE[len(spacing)]
    seen = Fingerprint(spacing, median, records, classes)
    plan = search.find(
        seen, int(budget), lambda network, size: Prediction(0, 0, int(network.elements(classes) * size / of_batch))
    )
    assert (plan.network.patch, plan.batch_size) == (patch, batch)


def costs(fixed: int, each: int):
    """Memory as training has it: a program, weights, and bytes for each element."""

    def predict(network, batch):
        return Prediction(fixed, 1000, network.elements(3) * batch * each)

    return predict


def test_a_budget_that_nothing_fits_is_refused():
    with pytest.raises(UserError, match="--memory_gib is too little for a U-Net"):
        search.find(Fingerprint((1, 1, 1), (30, 30, 30), 9, 3), 1_000_000, costs(1_000_000, 4))


@settings(max_examples=30)
@given(st.integers(100_000_000, 4_000_000_000), st.integers(2, 12), st.tuples(*[st.integers(20, 200)] * 3))
def test_a_plan_keeps_to_its_budget_and_a_larger_one_would_not(budget, each, median):
    seen, predict = Fingerprint((2.0, 1.0, 1.0), median, 100, 3), costs(1_000_000, each)
    plan = search.find(seen, budget, predict)
    assert plan.memory.total <= budget
    assert plan.batch_size >= search.LEAST_BATCH
    more = predict(plan.network, plan.batch_size + 1).total
    assert plan.batch_size == plan.most_batch or more > budget


def test_predictions_are_asked_for_seldom():
    asked = []

    def predict(network, batch):
        asked.append(network.patch)
        return costs(1_000_000, 8)(network, batch)

    search.find(Fingerprint((1, 1, 1), (300, 300, 300), 100, 3), 2_000_000_000, predict)
    assert len(asked) <= 4


def test_a_small_patch_of_a_large_image_asks_for_coarser_images():
    seen = Fingerprint((5.0, 1.0, 1.0), (60, 500, 500), 100, 3)
    plan = search.find(seen, 1_000_000_000, costs(0, 8))
    assert plan.wants_low_resolution
    coarse = search.low_resolution(plan)
    assert coarse.spacing_mm[1] == coarse.spacing_mm[2]
    assert coarse.spacing_mm[1] / 1.0 > coarse.spacing_mm[0] / 5.0, "the coarsest axis waits for the others"
    again = search.find(coarse, 1_000_000_000, costs(0, 8))
    assert again.coverage > 0.2
    assert not dataclasses.replace(
        plan, fingerprint=Fingerprint((5, 1, 1), plan.network.patch, 9, 3)
    ).wants_low_resolution
