"""Weights of files in networks: all of a twin, part of a relative, nothing of a stranger."""

import json
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from radkit import models
from radkit.errors import UserError
from radkit.models import weights
from radkit.models.weights import files, imagenet

FORMATS = ("network.weights.h5", "network.keras", "network.h5")


def small(rank: int = 2, channels: int = 3, classes: int = 4, width: int = 6, *, named: bool = True) -> keras.Model:
    """Two convolutions, a normalisation and a head; with names of their own or without."""
    names = iter(("stem", "stem_norm", "body", "head") if named else (None,) * 4)
    convolution = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[rank]
    inputs = keras.Input((*(8,) * rank, channels))
    x = convolution(4, 3, padding="same", name=next(names))(inputs)
    x = keras.layers.BatchNormalization(name=next(names))(x)
    x = convolution(width, 3, padding="same", name=next(names))(keras.layers.ReLU()(x))
    pooled = {2: keras.layers.GlobalAveragePooling2D, 3: keras.layers.GlobalAveragePooling3D}[rank]()(x)
    network = keras.Model(inputs, keras.layers.Dense(classes, name=next(names))(pooled), name="small")
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.1, 1, value.shape) for value in network.get_weights()])
    return network


def save(network: keras.Model, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
        return path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.save(path)
    return path


def zeros(network: keras.Model) -> keras.Model:
    network.set_weights([np.zeros_like(value) for value in network.get_weights()])
    return network


def outcomes(report: weights.Report) -> dict[str, str]:
    return {row.layer: row.outcome for row in report.rows}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("named", [True, False])
class TestFiles:
    def test_a_twin_takes_all(self, name: str, named: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first = small(named=named)
        path = save(first, tmp_path / name)
        second = zeros(small(named=named))
        report = weights.load(second, str(path))
        assert set(outcomes(report).values()) == {"loaded"}
        assert report.unused == ()
        assert len(report.rows) == 4
        for a, b in zip(first.get_weights(), second.get_weights()):
            np.testing.assert_array_equal(a, b)

    def test_a_relative_takes_what_fits(self, name: str, named: bool, tmp_path: Path) -> None:
        path = save(small(named=named), tmp_path / name)
        network = small(3, 1, classes=2, named=named)
        kept = network.layers[-1].get_weights()
        report = weights.load(network, str(path))
        assert [row.outcome for row in report.rows].count("adapted") == 2
        assert [row.outcome for row in report.rows].count("loaded") == 1
        (new,) = report.of("new")
        assert new.how == "(6, 2) here, (6, 4) in the file"
        np.testing.assert_array_equal(network.layers[-1].get_weights()[0], kept[0])
        stem, source = network.layers[1].get_weights()[0], small().layers[1].get_weights()[0]
        np.testing.assert_allclose(stem[1, ..., 0, :], source.sum(2) / 3, rtol=1e-5)


def test_wishes_change_how_kernels_are_made_to_fit(tmp_path: Path) -> None:
    path = save(small(), tmp_path / FORMATS[0])
    network = small(3, 1)
    report = weights.load(network, f"{path}?channels=mean&depth=centre")
    stem, source = network.layers[1].get_weights()[0], small().layers[1].get_weights()[0]
    np.testing.assert_allclose(stem[1, ..., 0, :], source.mean(2), rtol=1e-5)
    assert not stem[0].any()
    assert "3 -> 1 channels by mean, 2-D -> 3-D by centre" in report.text()


def test_nameless_layers_of_a_deeper_network_meet_where_they_are_alike(tmp_path: Path) -> None:
    def chain(*widths: int) -> keras.Model:
        inputs = x = keras.Input((8, 8, 1))
        for width in widths:
            x = keras.layers.Conv2D(width, 1)(x)
        return keras.Model(inputs, x)

    path = save(chain(4, 6, 8), tmp_path / FORMATS[0])
    report = weights.load(chain(4, 6, 7, 8), str(path))
    assert list(outcomes(report).values()) == ["loaded", "loaded", "new", "new"]
    assert report.unused == ("conv2d_2",)


class TestReport:
    def test_it_is_a_short_table_and_json(self, tmp_path: Path) -> None:
        path = save(small(), tmp_path / FORMATS[0])
        report = weights.load(small(2, 1, width=5), str(path))
        lines = report.text().splitlines()
        assert len(lines) == 5
        assert lines[1].split() == ["loaded", "1", "layers", "16", "parameters", "stem_norm"]
        assert "body ((3, 3, 4, 5) here, (3, 3, 4, 6) in the file)" in lines[3]
        assert lines[4].split()[:3] == ["unused", "2", "layers"]
        said = json.loads(json.dumps(report.to_json()))
        assert len(said["layers"]) == 4
        assert len(said["sha256"]) == 64

    def test_building_prints_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        settings = {"input_shape": (16, 16, 1), "num_classes": 2, "filters": (4, 8)}
        first = models.build("unet", **settings)
        path = save(first, tmp_path / FORMATS[0])
        second = models.build("unet", **settings, weights=str(path))
        assert "left new     0 layers" in capsys.readouterr().out
        for a, b in zip(first.get_weights(), second.get_weights()):
            np.testing.assert_array_equal(a, b)


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("gone.weights.h5", r"gone\.weights\.h5 do not exist; name a"),
            ("run:gone", r"best\.weights\.h5 does not exist; name the folder of a run"),
            (".", r"are a folder; name a file in it, or write run:"),
            ("imagenet:", "names no architecture"),
            ("imagenet:alexnet", "no imagenet weights of 'alexnet'.*there are of: convnextsmall"),
            ("imagenet?chanels=sum", r"'chanels' is no change \(did you mean 'channels'\?\)"),
            ("imagenet?channels=max", "channels must be sum or mean, not 'max'"),
            ("imagenet?", "asks for no change behind its"),
        ],
    )
    def test_weights_that_are_not_there(self, name: str, said: str) -> None:
        with pytest.raises(UserError, match=said):
            weights.load(small(), name)

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.h5").write_bytes(b"no HDF5")
        with pytest.raises(UserError, match="cannot be read"):
            weights.load(small(), str(tmp_path / "a.h5"))

    def test_a_file_that_was_cut_off_is_told_in_a_line(self, tmp_path: Path) -> None:
        whole = save(small(), tmp_path / FORMATS[0]).read_bytes()
        path = tmp_path / "b.weights.h5"
        for number in range(20):
            path.write_bytes(whole[: len(whole) * number // 20])
            with pytest.raises(UserError):
                files.read(path)

    def test_a_pickle_is_not_opened(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr("archive/data.pkl", b"")
        with pytest.raises(UserError, match=r"opens no pickles; write safetensors\.torch\.save_file"):
            weights.load(small(), str(tmp_path / "a.pt"))

    def test_a_stranger(self, tmp_path: Path) -> None:
        stranger = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, name="other")])
        path = save(stranger, tmp_path / FORMATS[0])
        with pytest.raises(UserError, match=r"nothing of the weights .* fits network 'small': .*stem: not in the file"):
            weights.load(small(), str(path))


class TestOwn:
    def test_own_weights_are_taken_whole(self, tmp_path: Path) -> None:
        path = save(small(named=False), tmp_path / FORMATS[0])
        network = zeros(small(named=False))
        weights.load_own(network, path)
        assert all(value.all() for value in network.get_weights())

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"width": 5}, r"body: \(3, 3, 4, 5\) here, \(3, 3, 4, 6\) in the file"),
            ({"channels": 1}, "stem: 3 -> 1 channels by sum"),
            ({"named": False}, "conv2d: not in the file.*stem: only in the file"),
        ],
    )
    def test_a_changed_factory_is_told_layer_by_layer(
        self, changed: dict[str, object], said: str, tmp_path: Path
    ) -> None:
        path = save(small(), tmp_path / FORMATS[0])
        network = small(**changed)
        before = network.get_weights()
        with pytest.raises(UserError, match=said):
            weights.load_own(network, path)
        for a, b in zip(before, network.get_weights()):
            np.testing.assert_array_equal(a, b)


class TestImagenet:
    def test_addresses_and_digests_are_those_of_keras(self) -> None:
        from keras.src.applications import convnext, efficientnet, inception_v3, resnet, vgg16

        assert imagenet.address("vgg16", True) == vgg16.WEIGHTS_PATH
        assert imagenet.address("vgg16", False) == vgg16.WEIGHTS_PATH_NO_TOP
        assert imagenet.address("inceptionv3", False) == inception_v3.WEIGHTS_PATH_NO_TOP
        for name, digests in resnet.WEIGHTS_HASHES.items():
            assert "next" in name or imagenet._DIGESTS[name] == digests
        for number in range(5):
            assert imagenet._DIGESTS[f"efficientnetb{number}"] == efficientnet.WEIGHTS_HASHES[f"b{number}"]
        for size in ("tiny", "small"):
            assert imagenet._DIGESTS[f"convnext{size}"] == convnext.WEIGHTS_HASHES[f"convnext_{size}"]
        assert imagenet.address("resnet50v2", True).startswith(resnet.BASE_WEIGHTS_PATH)
        assert imagenet.address("efficientnetb1", True) == efficientnet.BASE_WEIGHTS_PATH + "efficientnetb1.h5"
        assert imagenet.address("convnexttiny", False) == convnext.BASE_WEIGHTS_PATH + "convnext_tiny_notop.h5"

    @pytest.mark.parametrize("classes", [1000, 2])
    def test_the_file_is_fetched_by_name(self, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = {}

        def fetched(name: str, where: str, **more: str) -> str:
            asked.update(more, name=name)
            return str(save(small(), tmp_path / "fetched.h5"))

        monkeypatch.setattr(keras.utils, "get_file", fetched)
        report = weights.load(small(2, 1, classes), "imagenet", "ResNet-50")
        ending = "" if classes == 1000 else "_notop"
        assert asked["name"] == f"resnet50_weights_tf_dim_ordering_tf_kernels{ending}.h5"
        assert asked["file_hash"] == imagenet._DIGESTS["resnet50"][classes != 1000]
        assert outcomes(report) == {"stem": "adapted", "stem_norm": "loaded", "body": "loaded", "head": "new"}

    def test_another_file_of_that_name_is_refused_and_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        path = tmp_path / "models" / imagenet.address("vgg16", top=False).rpartition("/")[2]
        path.parent.mkdir()
        save(small(), path)
        with pytest.raises(UserError, match=r"is not the file that Keras publishes.*name its path as weights"):
            weights.load(small(), "imagenet", "vgg16")
        assert weights.load(small(), str(path)).of("loaded")

    def test_no_network_is_told_with_a_way_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failed(*_: object, **__: object) -> str:
            raise Exception("URL fetch failure on https://x: None -- unreachable")

        monkeypatch.setattr(keras.utils, "get_file", failed)
        with pytest.raises(UserError, match=r"cannot be fetched \(URL fetch failure.*put vgg16_weights.*into Keras's"):
            weights.load(small(), "imagenet", "vgg16")


APPLICATIONS = {
    "resnet50": ("ResNet50", 64),
    "resnet50_v2": ("ResNet50V2", 64),
    "densenet121": ("DenseNet121", 64),
    "inception_v3": ("InceptionV3", 96),
    "efficientnet_b0": ("EfficientNetB0", 64),
    "convnext_tiny": ("ConvNeXtTiny", 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_file_of_keras_applications_fits_the_member_of_its_name(name: str, tmp_path: Path) -> None:
    theirs, size = APPLICATIONS[name]
    made = getattr(keras.applications, theirs)(weights=None, include_top=False, input_shape=(size, size, 3))
    path = save(made, tmp_path / FORMATS[2])
    stored = [one for one in files.read(path) if one.arrays]
    network = models.build(name, input_shape=(size, size, 3), num_classes=2)
    report = weights.load(network, str(path))
    assert len(report.of("new")) == 1  # the classes' layer
    assert not report.of("adapted")
    assert report.unused == ()
    assert len(report.of("loaded")) == len(stored)
    for a, b in zip(made.get_weights(), network.get_weights()):
        np.testing.assert_array_equal(a, b)
    if name == "resnet50":
        grey = models.build(name, input_shape=(size, size, 1), num_classes=2)
        (row,) = weights.load(grey, str(path)).of("adapted")
        assert (row.layer, row.how) == ("conv1_conv", "3 -> 1 channels by sum")
