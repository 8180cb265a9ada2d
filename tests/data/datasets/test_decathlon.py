"""A public set prepared by TFDS itself holds the records that `radkit import` writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radkit import config
from radkit.data import contents, convert, datasets, public, public_cases
from radkit.errors import UserError
from tests.data.test_public_nifti import decathlon

# TFDS asks protobuf for what it will drop.
pytestmark = pytest.mark.filterwarnings("ignore:label\\(\\) is deprecated:DeprecationWarning")
LABELS = {"0": "background", "1": "Anterior", "2": "Posterior"}


def prepared(tmp_path: Path, manual: Path) -> Any:
    return tfds.load(
        "decathlon/hippocampus",
        data_dir=str(tmp_path / "out"),
        with_info=True,
        download_and_prepare_kwargs={"download_config": tfds.download.DownloadConfig(manual_dir=str(manual))},
    )


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    decathlon(tmp_path / "Task04_Hippocampus", *(f"h_{number:03d}" for number in range(9)), labels=LABELS)
    return tmp_path


def test_it_holds_what_radkit_import_makes(manual: Path, tmp_path: Path) -> None:
    made, info = prepared(tmp_path, manual)
    data = datasets.Decathlon(data_dir=str(tmp_path / "other"), config="hippocampus").data()
    asked = public_cases.Asked("nifti", manual / "Task04_Hippocampus")
    units = public.units(public.select(asked, data), asked, data)
    expected = {}
    for unit in units:
        ((uid, volume),) = contents.volumes_of(unit, data)
        expected[uid] = contents.record_of(unit, uid, volume, data).values
    assert len(expected) == 9
    seen: dict[str, set[str]] = {}
    for split, records in made.items():
        for record in tfds.as_numpy(records):
            values = expected.pop(record["record_uid"].decode())
            seen.setdefault(record["patient_id"].decode(), set()).add(split)
            np.testing.assert_array_equal(record["image"], values["image"])
            np.testing.assert_array_equal(record["mask"], values["mask"])
            np.testing.assert_array_equal(record["direction"], values["direction"])
            np.testing.assert_allclose(record["spacing_mm"], values["spacing_mm"])
    assert not expected
    assert all(len(splits) == 1 for splits in seen.values())
    assert set(info.features) == {field.name for field in convert.fields_of(data)}


def test_the_labels_of_each_task_are_a_config_that_holds(tmp_path: Path) -> None:
    for task in datasets.Decathlon.BUILDER_CONFIGS:
        builder = datasets.Decathlon(data_dir=str(tmp_path), config=task.name)
        data = builder.data()
        assert data.mask_labels == task.labels
        assert data.modalities == (task.modality,)
        assert config.data_from_json(config.data_to_json(data)) == data
        assert builder.info.features["mask"].dtype == np.uint8
    assert {"hippocampus", "liver", "hepatic_vessel"} <= {task.name for task in datasets.Decathlon.BUILDER_CONFIGS}


def test_a_folder_without_the_task_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "Task03_Liver").mkdir()
    with pytest.raises(UserError, match=r"holds no folder Task04_Hippocampus; Download the task's archive"):
        prepared(tmp_path, tmp_path)


def test_labels_that_the_set_names_otherwise_are_refused(tmp_path: Path) -> None:
    decathlon(tmp_path / "Task04_Hippocampus", "h_001")  # its label is "organ"
    with pytest.raises(UserError, match="organ"):
        prepared(tmp_path, tmp_path)
