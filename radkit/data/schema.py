"""What a record holds: the only place where field names, shapes, dtypes and units stand.

One record is one radiograph or one volume. `features_json` describes it to TensorFlow Datasets, so that
`tfds.builder_from_directory` reads the shards where radkit is not installed; `described` to people.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from radkit.errors import UserError

Shape = tuple[int | None, ...]
VERSION = 4  # of the fields; a data set says which it was written by
READABLE = (3, 4)
_SINCE = {"site": 4, "study_date": 4}  # fields that records of an older version lack


@dataclass(frozen=True)
class Field:
    """One field of a record; `unit` and `what` are for people.

    Attributes:
        kind: `array` is raw little-endian bytes (with its shape beside it where a size is free), `numbers` float32,
            one or a list, `text` UTF-8, `class` an index into `class_names`; `texts` and `classes` are lists of such;
            `flags` one of 1 (yes), 0 (no) and -1 (unknown) for each of `class_names`.
    """

    name: str
    kind: Literal["array", "numbers", "text", "texts", "class", "classes", "flags"]
    dtype: str
    shape: Shape
    unit: str
    what: str
    class_names: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What it is, with its unit."""
        return f"{self.what} [{self.unit}]" if self.unit else self.what

    @property
    def has_free_size(self) -> bool:
        """Whether a size differs from record to record, so that the shape is stored with the bytes."""
        return None in self.shape


def _text(name: str, what: str) -> Field:
    return Field(name, "text", "str", (), "", what)


def _number(name: str, unit: str, what: str) -> Field:
    return Field(name, "numbers", "float32", (), unit, f"{what}; nan where unknown")


def fields(
    kind: str,
    *,
    image_dtype: str = "int16",
    mask_labels: tuple[str, ...] = (),
    class_names: tuple[str, ...] = (),
    label_kind: str = "",
    label_unit: str = "",
    has_report: bool = False,
    box_labels: tuple[str, ...] = (),
    keep_readers: bool = False,
    version: int = VERSION,
) -> tuple[Field, ...]:
    """Returns the fields of a data set's records, sorted by name.

    Args:
        kind: `volume` or `radiograph`.
        image_dtype: `int16` for stored values, `float32` for modality values.
        mask_labels: Names of mask values 1, 2, ...; empty: no mask.
        class_names: Names of the classes, of labels that have such.
        label_kind: `class`, `multi_label`, `ordinal`, `regression` or `survival`; empty: no label.
        label_unit: Of a regression's values, or of a survival's times.
        has_report: Whether the report's text is there.
        box_labels: Names of the boxes' classes 0, 1, ...; empty: no boxes.
        keep_readers: Whether each reader's mask stands beside the one that they make up.
        version: Of the schema that the records were written by.

    Raises:
        UserError: Records of that version cannot be read, or do not have such labels or reports.
    """
    check(version)
    if version == 3 and (has_report or label_kind not in ("", "class")):
        asked = "reports" if has_report else f"labels of kind {label_kind!r}"
        raise UserError(f"records of schema 3 have no {asked}; convert the data set again")
    rank = 3 if kind == "volume" else 2
    image: Shape = (None,) * rank + (1,)
    listed = [
        Field("image", "array", image_dtype, image, "stored", "pixels; modality value = stored * slope + intercept"),
        Field("rescale_slope", "numbers", "float32", (None,), "modality/stored", "one a slice"),
        Field("rescale_intercept", "numbers", "float32", (None,), "modality", "one a slice"),
        Field("spacing_mm", "numbers", "float32", (rank,), "mm", "slice, row, column; nan where unknown"),
        Field("origin_mm", "array", "float64", (3,), "mm", "LPS place of the first voxel's centre"),
        Field(
            "direction",
            "array",
            "float64",
            (3, 3),
            "",
            "columns: LPS step a mm of spacing, of column, row and slice index",
        ),
        _number("age_years", "years", "PatientAge"),
        _number("field_strength_t", "T", "MagneticFieldStrength"),
        _number("slice_thickness_mm", "mm", "SliceThickness"),
        _number("tube_voltage_kv", "kV", "KVP"),
        _text("record_uid", "series_uid, or a radiograph's SOPInstanceUID; /2 for a series' second volume"),
        _text("findings", "what a reader should know, in words"),
        _text("patient_id", "pseudonym"),
        _text("study_uid", "StudyInstanceUID after mapping"),
        _text("series_uid", "SeriesInstanceUID after mapping"),
        _text("modality", "Modality"),
        _text("manufacturer", "Manufacturer"),
        _text("manufacturer_model", "ManufacturerModelName"),
        _text("kernel", "ConvolutionKernel"),
        _text("laterality", "ImageLaterality, else Laterality"),
        _text("body_part", "BodyPartExamined"),
        _text("view_position", "ViewPosition"),
        _text("sex", "PatientSex"),
        _text("site", "where it was acquired, by a pseudonym; empty where nobody says"),
        _text("study_date", "StudyDate as the images have it, YYYYMMDD: de-identification may have moved it"),
    ]
    if mask_labels or box_labels:
        listed += _about("annotation", "of the mask and boxes")
    if mask_labels:
        meaning = ", ".join(f"{n}: {label}" for n, label in enumerate(mask_labels, 1))
        listed.append(Field("mask", "array", "uint8", image, "", f"0: none, {meaning}"))
        if keep_readers:
            listed.append(Field("reader_masks", "array", "uint8", (None, *image), "", "as mask, one a reader"))
            listed.append(Field("readers", "texts", "str", (None,), "", "who drew them, in their order"))
    if box_labels:
        edges = "low, then high slice, row, column" if kind == "volume" else "low, then high row, column"
        listed += [
            Field(
                "boxes", "numbers", "float32", (None, 2 * rank), "voxels", f"{edges}; voxel n reaches from n to n + 1"
            ),
            Field("box_labels", "classes", "int64", (None,), "", "class index of each box", box_labels),
            Field("lesion_ids", "texts", "str", (None,), "", "of each box; empty where nobody says"),
        ]
    if label_kind and (class_names or version > 3):
        listed += _label(label_kind, class_names, label_unit)
        listed += _about("label", "of the label")
    if has_report:
        listed.append(_text("report", "the report's text"))
    return tuple(sorted((f for f in listed if _SINCE.get(f.name, 0) <= version), key=lambda f: f.name))


def check(version: object, where: str = "the records") -> None:
    """Refuses records of a version that this radkit does not read.

    Raises:
        UserError: It names the version.
    """
    if version not in READABLE:
        read = " and ".join(map(str, READABLE))
        raise UserError(f"{where} are of schema {version or 'unknown'}, this radkit reads schema {read}; convert again")


def _label(kind: str, class_names: tuple[str, ...], unit: str) -> list[Field]:
    if kind == "multi_label":
        what = f"1 yes, 0 no, -1 unknown, of each class: {', '.join(class_names)}"
        return [Field("label", "flags", "int64", (len(class_names),), "", what, class_names)]
    if kind == "regression":
        return [Field("label", "numbers", "float32", (), unit, "what the labels table says")]
    if kind == "survival":
        time = Field("label", "numbers", "float32", (), unit, "time to the event, or to the last look without one")
        return [time, Field("event", "class", "int64", (), "", "whether it was seen", ("censored", "event"))]
    what = "class index, in order of degree" if kind == "ordinal" else "class index"
    return [Field("label", "class", "int64", (), "", what, class_names)]


def _about(what: str, of: str) -> list[Field]:
    return [
        _text(f"{what}_reader", f"who, by a pseudonym, {of}; several are joined by ' + '"),
        _text(f"{what}_date", f"when, YYYY-MM-DD, {of}"),
        _text(f"{what}_reference_standard", f"what it rests on, {of}: histology, follow_up, reader, ..."),
    ]


_TFDS = "tensorflow_datasets.core.features"


def features_json(record_fields: tuple[Field, ...]) -> dict[str, Any]:
    """Returns the text of TFDS's `features.json` as JSON values; each feature's `doc` tells unit and meaning."""
    return {
        "pythonClassName": f"{_TFDS}.features_dict.FeaturesDict",
        "featuresDict": {"features": {f.name: {**_feature(f), "description": f.description} for f in record_fields}},
    }


def described(record_fields: tuple[Field, ...], dataset: str) -> str:
    """Returns a page (Markdown) that tells people what each field of a data set's records is.

    Args:
        record_fields: From `fields`.
        dataset: The data set's name.
    """
    rows = [("field", "type", "shape", "unit", "meaning"), ("---",) * 5]
    for field in record_fields:
        names = "; ".join(f"{n}: {name}" for n, name in enumerate(field.class_names) if field.kind != "flags")
        shape = f"({', '.join('any' if n is None else str(n) for n in field.shape)})" if field.shape else ""
        rows.append((f"`{field.name}`", field.dtype, shape, field.unit, "; ".join(filter(None, [field.what, names]))))
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return _PAGE.format(dataset=dataset, version=VERSION, table=table)


_PAGE = """# Fields of {dataset}

Records of radkit, schema {version}, one a radiograph or volume, in TensorFlow Datasets' layout. No radkit is needed:
`tfds.builder_from_directory` reads this folder, and `builder.info.features["spacing_mm"].doc` tells what stands here.
A size of "any" differs from record to record. Text is UTF-8. An index into classes is told with its names.

{table}
"""


def _feature(field: Field) -> dict[str, Any]:
    if field.kind == "text":
        return {"pythonClassName": f"{_TFDS}.text_feature.Text", "text": {}}
    if field.kind == "class":
        return {
            "pythonClassName": f"{_TFDS}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": str(len(field.class_names))},
        }
    if field.kind == "flags":
        dimensions = [str(n) for n in field.shape]
        return {
            "pythonClassName": f"{_TFDS}.tensor_feature.Tensor",
            "tensor": {"dtype": field.dtype, "encoding": "none", "shape": {"dimensions": dimensions}},
        }
    if field.kind in ("texts", "classes"):
        one = replace(field, kind="text" if field.kind == "texts" else "class", shape=())
        return {
            "pythonClassName": f"{_TFDS}.sequence_feature.Sequence",
            "sequence": {"feature": _feature(one), "length": "-1"},
        }
    return {
        "pythonClassName": f"{_TFDS}.tensor_feature.Tensor",
        "tensor": {
            "dtype": field.dtype,
            "encoding": "bytes" if field.kind == "array" else "none",
            "shape": {"dimensions": [str(-1 if n is None else n) for n in field.shape]} if field.shape else {},
        },
    }
