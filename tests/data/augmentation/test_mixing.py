"""Two examples made one: what is seen of each is what its label counts."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from radkit import config
from radkit.data import augment
from radkit.data.augmentation import mixing
from radkit.errors import UserError
from radkit.tasks import classification
from tests.data.augmentation.regions import RADIOGRAPH


def batch_of(size=6, *, mask=False):
    levels = np.arange(size, dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None, None], (size, 16, 12, 1)).copy()
    batch = {"image": tf.constant(images), "label": tf.range(size, dtype=tf.int64), "patient": tf.range(size)}
    return {**batch, "mask": tf.cast(images, tf.uint8)} if mask else batch


def mixed(batch, settings, seed=1):
    found = augment.mix(batch, tf.constant([seed, 5]), settings, RADIOGRAPH)
    return {name: value.numpy() for name, value in found.items()}


def test_nothing_asked_nothing_mixed():
    batch = batch_of()
    assert augment.mix(batch, tf.constant([1, 2]), config.Augment(), RADIOGRAPH) == batch


@pytest.mark.parametrize("settings", [config.Augment(mixup=0.4), config.Augment(cutmix=1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_the_share_is_what_is_seen(settings, seed):
    found = mixed(batch_of(), settings, seed)
    np.testing.assert_array_equal(found["mixed_label"], np.roll(np.arange(6), 1))
    np.testing.assert_array_equal(found["label"], np.arange(6))
    np.testing.assert_array_equal(found["patient"], np.arange(6))
    assert ((found["mixed_share"] >= 0) & (found["mixed_share"] <= 1)).all()
    seen = found["image"].mean(axis=(1, 2, 3))
    expected = found["mixed_share"] * found["label"] + (1 - found["mixed_share"]) * found["mixed_label"]
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_mixup_blends_every_voxel_alike_and_cutmix_takes_a_box():
    assert np.ptp(mixed(batch_of(), config.Augment(mixup=1.0))["image"], axis=(1, 2, 3)).max() < 1e-6
    found = mixed(batch_of(8, mask=True), config.Augment(cutmix=1.0))
    np.testing.assert_array_equal(found["mask"], found["image"])
    for number in range(8):
        other = np.argwhere(found["image"][number, ..., 0] != number)
        if len(other):
            assert (np.ptp(other, axis=0) + 1).prod() == len(other)


def test_what_is_drawn_at_times_leaves_the_others_bit_for_bit():
    batch = batch_of(40)
    for name in ("mixup", "cutmix"):
        settings = config.Augment(**{name: 1.0}, chances=config.Chances(**{name: 0.3}))
        found = mixed(batch, settings)
        kept = found["mixed_share"] == 1
        assert 15 < kept.sum() < 40
        np.testing.assert_array_equal(found["image"][kept], batch["image"][kept])


def test_each_of_both_is_drawn_where_both_are_asked():
    found = mixed(batch_of(60), config.Augment(mixup=1.0, cutmix=1.0))
    levels = np.array([len(np.unique(image)) for image in found["image"]])
    blended = np.array([image.flat[0] % 1 != 0 for image in found["image"]])
    assert 15 < blended.sum() < 45
    assert levels.max() == 2


@pytest.mark.parametrize("parameter", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(parameter):
    found = mixing._beta(tf.constant([1, 2]), "mixup", 20_000, parameter).numpy()
    for level in (0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 0.99):
        assert abs((found < level).mean() - stats.beta(parameter, parameter).cdf(level)) < 0.015


def test_the_loss_is_each_labels_share_of_it():
    logits = tf.constant([[2.0, -1.0], [0.5, 1.0]])
    batch = {"label": tf.constant([0, 1]), "mixed_label": tf.constant([1, 1]), "mixed_share": tf.constant([0.75, 0.5])}
    plain = [-np.log(np.exp(row) / np.exp(row).sum()) for row in logits.numpy()]
    expected = [0.75 * plain[0][0] + 0.25 * plain[0][1], plain[1][1]]
    np.testing.assert_allclose(classification.TASK.loss(batch, logits), expected, rtol=1e-5)
    own = classification.TASK.loss({"label": batch["label"]}, logits)
    np.testing.assert_allclose(own, [plain[0][0], plain[1][1]], rtol=1e-5)


@pytest.mark.parametrize("name", ["boxes", "points", "event"])
def test_what_cannot_be_half_of_each_is_refused(name):
    with pytest.raises(UserError, match=f"cannot mix '{name}'"):
        mixed({**batch_of(), name: tf.zeros([6, 2])}, config.Augment(cutmix=1.0))


def test_mixup_without_labels_is_refused():
    with pytest.raises(UserError, match=r"augment\.mixup mixes labels, and the batch has none"):
        mixed({"image": batch_of()["image"]}, config.Augment(mixup=1.0))


def test_compiled_it_is_the_same():
    settings = config.Augment(mixup=0.5, cutmix=1.0)
    compiled = tf.function(lambda b: augment.mix(b, tf.constant([1, 5]), settings, RADIOGRAPH), jit_compile=True)
    found, expected = compiled(batch_of(12, mask=True)), mixed(batch_of(12, mask=True), settings)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
