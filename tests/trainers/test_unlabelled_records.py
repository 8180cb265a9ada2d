"""Records without labels beside labelled ones: which are taken, and that each step has its own, whoever asks."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import convert, pipeline, splits
from radkit.errors import UserError
from tests.conftest import MadeUp
from trainers import unlabelled_records


def with_method(made: MadeUp, batch_size: int = 4) -> config.Experiment:
    settings = config.Unlabelled(method="mean_teacher", batch_size=batch_size)
    return dataclasses.replace(made.experiment, unlabelled=settings)


def batches(made: MadeUp, first_step: int, count: int, host: int = 0, num_hosts: int = 1) -> list[dict]:
    experiment, share = with_method(made), {"host": host, "num_hosts": num_hosts}
    fields = convert.fields_of(experiment.data)
    labelled = pipeline.training(made.folder, experiment, fields, first_step, **share)
    found = unlabelled_records.opened(made.folder, experiment, **share)
    taken = unlabelled_records.beside(labelled, found, first_step).take(count)
    return [{name: value.numpy() for name, value in one.items()} for one in taken]


@pytest.mark.slow
def test_a_batch_holds_both_and_a_step_has_its_own(radiographs: MadeUp) -> None:
    from_start, later = batches(radiographs, 0, 3), batches(radiographs, 2, 1)
    assert set(later[0]) == {"image", "label", "unlabelled_image", "unlabelled_draw"}
    assert later[0]["unlabelled_image"].shape == (4, 24, 24, 1)
    assert later[0]["unlabelled_draw"].tolist() == [8, 9, 10, 11]
    for name, value in later[0].items():
        np.testing.assert_array_equal(value, from_start[2][name])
    labelled, other = (from_start[0][name][:2] for name in ("image", "unlabelled_image"))
    assert not np.allclose(labelled, other)


@pytest.mark.slow
def test_hosts_have_parts_of_a_batch(radiographs: MadeUp) -> None:
    parts = [batches(radiographs, 1, 1, host, 2)[0]["unlabelled_draw"].tolist() for host in (0, 1)]
    assert parts == [[4, 5], [6, 7]]


def test_patients_who_are_held_out_are_left_out(radiographs: MadeUp) -> None:
    experiment, trainer = with_method(radiographs), radiographs.experiment.trainer
    known = splits.patients(radiographs.folder, "train", trainer)
    found = unlabelled_records.opened(radiographs.folder, experiment, without={*known[1:], "X"})
    assert found.patients == (known[0],)
    assert len(found.images._records) == 2  # as each patient has
    with pytest.raises(
        UserError, match="has 6 patients in its training split, and all of them are validated or tested"
    ):
        unlabelled_records.opened(radiographs.folder, experiment, without=known)


def test_a_data_set_that_is_all_held_out_is_told_as_such(radiographs: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "patients", lambda *_: [])
    with pytest.raises(UserError, match=r"has no patient in its training split, .* with data\.splits=\(1,0,0"):
        unlabelled_records.opened(radiographs.folder, with_method(radiographs))


def test_records_of_another_kind_are_refused_and_other_labels_are_not(radiographs: MadeUp, volumes: MadeUp) -> None:
    with pytest.raises(UserError, match=r"were converted with data\.kind='volume', the config says 'radiograph'"):
        unlabelled_records.opened(volumes.folder, with_method(radiographs))
    other = dataclasses.replace(radiographs.experiment.data, label="", class_names=(), mask_labels=("m",))
    made = dataclasses.replace(radiographs, experiment=dataclasses.replace(radiographs.experiment, data=other))
    assert unlabelled_records.opened(radiographs.folder, with_method(made)).patients


def test_what_the_accelerator_changes_is_changed_in_both_parts(radiographs: MadeUp) -> None:
    on_device = dataclasses.replace(radiographs.experiment.augment, where="device")
    made = dataclasses.replace(radiographs, experiment=dataclasses.replace(radiographs.experiment, augment=on_device))
    given = {name: tf.constant(value) for name, value in batches(made, 0, 1)[0].items()}
    there = unlabelled_records.on_device(given, with_method(made))
    here = batches(radiographs, 0, 1)[0]
    assert set(there) == set(here)
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, atol=2e-3)
