"""The table of series, made from that of instances: a share of the series at a time, so that millions fit."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beam_jobs import index_batch
from radkit.dicom import facts, scan

ROWS_AT_A_TIME = 100_000
_KEY, _ROW = "_series", "_row"

# Columns that an instance has, too: the value of the first of the series' instances, by path, that has one.
TAKEN = (
    "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality", "SOPClassUID", "Manufacturer",
    "ManufacturerModelName", "SoftwareVersions", "BodyPartExamined", "Laterality", "ImageLaterality", "ViewPosition",
    "PatientPosition", "StudyDate", "SeriesDate", "AcquisitionDate", "StudyTime", "SeriesTime", "AcquisitionTime",
    "StudyDescription", "SeriesDescription", "ProtocolName", "SeriesNumber", "ImageType", "PatientSex", "PatientAge",
    "Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "KVP",
    "ConvolutionKernel", "MagneticFieldStrength", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle",
    "ContrastBolusAgent", "PhotometricInterpretation", "TransferSyntaxUID", "BurnedInAnnotation",
    "PatientIdentityRemoved",
)  # fmt: skip
_ASKED = (
    "path", index_batch.SIZE, "SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames",
    "TemporalPositionIdentifier", "DiffusionBValue", "InstanceNumber", "ContrastBolusStartTime", *TAKEN,
)  # fmt: skip
_MADE = {
    "plane": "string", "plane_angle_degrees": "double", "spacing_mm": "double", "num_instances": "int64",
    "num_frames": "int64", "num_positions": "int64", "num_orientations": "int64", "num_gaps": "int64",
    "num_duplicates": "int64", "most_at_one_position": "int64", "num_sizes": "int64", "num_echo_times": "int64",
    "num_times": "int64", "num_b_values": "int64", "is_image": "bool", "is_localizer": "bool", "is_derived": "bool",
    "is_secondary": "bool", "contrast_hint": "string", "phase_hint": "string", "kernel_hint": "string",
    "size_bytes": "int64", "middle_path": "string",
}  # fmt: skip
COLUMNS = (*TAKEN, *_MADE)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

Columns = dict[str, list[Any]]


def schema() -> Any:
    """Returns the Arrow schema of the series' table."""
    import pyarrow

    made = [(name, pyarrow.type_for_alias(kind)) for name, kind in _MADE.items()]
    return pyarrow.schema([*index_batch.schema(TAKEN), *[pyarrow.field(*field) for field in made]])


def write(instances: Path, target: Path) -> None:
    """Writes the series' table, sorted by SeriesInstanceUID, from the instances' table.

    An instance without one is a series of its own under its SOPInstanceUID, as in `scan.group`.
    """
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetWriter(target, schema()) as writer:
        for share in _shares(instances):
            rows = [row(columns) for columns in _each_series(share)]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema()))


def _shares(instances: Path) -> Iterator[Any]:
    """Yields tables of whole series, some hundred thousand instances each, in the order of their UIDs."""
    import pyarrow
    from pyarrow import compute

    two = ("SeriesInstanceUID", "SOPInstanceUID")
    keys = pyarrow.chunked_array([_keys(batch) for batch in _batches(instances, two)], pyarrow.string())
    if not len(keys):
        return
    bounds = keys.take(compute.sort_indices(keys))[::ROWS_AT_A_TIME].unique().to_pylist()
    for low, high in zip(bounds, [*bounds[1:], None]):
        held = []
        for batch in _batches(instances, _ASKED):
            key = _keys(batch)
            inside = compute.greater_equal(key, low)
            if high is not None:
                inside = compute.and_(inside, compute.less(key, high))
            held.append(pyarrow.Table.from_batches([batch]).append_column(_KEY, key).filter(inside))
        yield pyarrow.concat_tables(held).combine_chunks()


def _batches(instances: Path, columns: Sequence[str]) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(instances) as file:
        yield from file.iter_batches(columns=list(columns))


def _keys(batch: Any) -> Any:
    from pyarrow import compute

    return compute.coalesce(batch.column("SeriesInstanceUID"), batch.column("SOPInstanceUID"))


def _each_series(share: Any) -> Iterator[Columns]:
    """Yields each series' instances, by path, as columns."""
    import pyarrow

    rows = pyarrow.array(np.arange(share.num_rows))
    ordered = share.append_column(_ROW, rows).sort_by([(_KEY, "ascending"), (_ROW, "ascending")])
    keys = ordered.column(_KEY).to_pylist()
    starts = [place for place, key in enumerate(keys) if not place or key != keys[place - 1]]
    columns = ordered.drop_columns([_ROW])
    for start, end in zip(starts, [*starts[1:], len(keys)]):
        yield columns.slice(start, end - start).to_pydict()


def row(columns: Columns) -> dict[str, Any]:
    """Returns a series' row.

    Args:
        columns: Of its instances, by path; `_ASKED` and the series' key.
    """
    found: dict[str, Any] = {name: next((v for v in columns[name] if v is not None), None) for name in TAKEN}
    found["SeriesInstanceUID"] = columns[_KEY][0]
    words = " ".join(filter(None, (found["SeriesDescription"], found["ProtocolName"])))
    types = [str(text or "").split("\\") for text in columns["ImageType"]]
    return {
        **found,
        **_counts(columns),
        **_geometry(columns, found),
        **_hints(columns, found, words),
        "is_image": scan.is_image(found["SOPClassUID"] or "", found["Rows"]),
        "is_localizer": any(facts.is_localizer(text, words) for text in set(columns["ImageType"])),
        "is_derived": any(parts[0] == "DERIVED" for parts in types),
        "is_secondary": any(parts[1:2] == ["SECONDARY"] for parts in types)
        or (found["SOPClassUID"] or "").startswith(_SECONDARY_CAPTURE),
    }


def _counts(columns: Columns) -> dict[str, Any]:
    count = len(columns["path"])
    return {
        "num_instances": count,
        "num_frames": sum(max(1, frames or 1) for frames in columns["NumberOfFrames"]),
        "num_duplicates": count - len(set(columns["SOPInstanceUID"])),
        "num_sizes": len(set(zip(columns["Rows"], columns["Columns"]))),
        "num_echo_times": _different(columns["EchoTime"]),
        "num_times": _different(columns["TemporalPositionIdentifier"]),
        "num_b_values": _different(columns["DiffusionBValue"]),
        index_batch.SIZE: sum(columns[index_batch.SIZE]),
    }


def _different(values: Sequence[Any]) -> int:
    return len({value for value in values if value is not None})


def _geometry(columns: Columns, found: dict[str, Any]) -> dict[str, Any]:
    orientations = [facts.numbers(text, 6) for text in columns["ImageOrientationPatient"]]
    told = Counter(tuple(round(v, 2) + 0.0 for v in o) for o in orientations if o is not None)
    orientation = next((o for o in orientations if o is not None), None)
    where = None if orientation is None else facts.plane(orientation)
    made: dict[str, Any] = {
        "plane": None if where is None else where[0],
        "plane_angle_degrees": None if where is None else where[1],
        "num_orientations": len(told),
        "middle_path": _middle(columns),
    }
    told_mm = None if found["SpacingBetweenSlices"] is None else round(found["SpacingBetweenSlices"], 4)
    # Of an instance of many frames only the first one's place is known.
    if orientation is None or len(told) > 1 or any((frames or 1) > 1 for frames in columns["NumberOfFrames"]):
        return {**made, "spacing_mm": told_mm if len(told) == 1 else None}
    positions = _positions(columns)
    lie = facts.places(np.array([position for position, _ in positions]), orientation) if positions else None
    if lie is not None:
        made.update(
            spacing_mm=lie.spacing_mm if lie.spacing_mm is not None else told_mm,
            num_positions=lie.num_positions,
            num_gaps=lie.num_gaps,
            most_at_one_position=lie.most_at_one,
            middle_path=positions[lie.middle][1],
        )
    return made


def _positions(columns: Columns) -> list[tuple[tuple[float, ...], str]]:
    """Returns place and path of each instance that has a place; one that is there twice counts once."""
    held: dict[str, tuple[tuple[float, ...], str]] = {}
    for uid, text, path in zip(columns["SOPInstanceUID"], columns["ImagePositionPatient"], columns["path"]):
        position = facts.numbers(text, 3)
        if position is not None:
            held.setdefault(uid, (position, path))
    return list(held.values())


def _middle(columns: Columns) -> str:
    """Returns the path in the middle by InstanceNumber; where it is not told by path."""
    numbers = [-1 if number is None else number for number in columns["InstanceNumber"]]
    ordered: list[tuple[int, str]] = sorted(zip(numbers, columns["path"]))
    return ordered[(len(ordered) - 1) // 2][1]


def _hints(columns: Columns, found: dict[str, Any], words: str) -> dict[str, Any]:
    contrast = facts.contrast(found["ContrastBolusAgent"], words)
    started = next((t for t in columns["ContrastBolusStartTime"] if t is not None), None)
    begun, taken = facts.seconds_of_day(started), facts.seconds_of_day(found["AcquisitionTime"])
    seconds = None if begun is None or taken is None else taken - begun
    return {
        "contrast_hint": contrast or None,
        "phase_hint": facts.phase(words, seconds, with_contrast=contrast == "yes") or None,
        "kernel_hint": facts.kernel(found["ConvolutionKernel"]) or None,
    }
