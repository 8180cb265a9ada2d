"""The functions that an export answers by, one a signature: all of them ask the same network in the same way.

`serving_default` takes modality values, `stored` what DICOM stores with its slope and intercept, `examples` the data
set's own records; `classify` and `regress` are `examples` under the names that TensorFlow Serving's calls of the same
name want.
"""

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from radkit import config
from radkit.data import clinical, convert, pipeline
from radkit.tasks import task as task_module
from serving import guards, operating, quantised, signatures, sources

_CLASSIFY = ("classification", "multi_label", "ordinal")
_OF_RECORDS = ("image", "rescale_slope", "rescale_intercept", "spacing_mm")
_LEGACY = {signatures.CLASSIFY: "tensorflow/serving/classify", signatures.REGRESS: "tensorflow/serving/regress"}


def functions(source: sources.Source, kept: quantised.Kept | None = None) -> dict[str, Any]:
    """Returns the compiled function of each signature.

    Args:
        source: The runs.
        kept: Weights that are stored in fewer bits; None: as they are.
    """
    data, task = source.experiment.data, source.experiment.task.name
    answer = _default(source, kept)
    found = {
        signatures.DEFAULT: answer,
        signatures.STORED: _stored(answer, data),
        signatures.EXAMPLES: _examples(answer, data),
        signatures.RECORDS: _telling(source.experiment),
    }
    if task in _CLASSIFY:
        found[signatures.CLASSIFY] = _named(answer, data, {"classes": "class_names", "scores": "probabilities"})
    if task == "regression":
        found[signatures.REGRESS] = _named(answer, data, {"outputs": "values"})
    return found


def _specs(data: config.Data) -> list[tf.TensorSpec]:
    rank = len(data.image_size)
    specs = [
        tf.TensorSpec([None] * (rank + 1) + [1], tf.float32, name="image"),
        tf.TensorSpec([None, rank], tf.float32, name="spacing_mm"),
    ]
    return specs + [tf.TensorSpec([None, len(data.table)], tf.float32, name="table")] * bool(data.table)


def _default(source: sources.Source, kept: quantised.Kept | None) -> Any:
    experiment, network = source.experiment, sources.network(source)

    def answered(given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        checked = guards.checked(given, experiment.data)
        with quantised.reading(kept):
            found = task_module.answer(
                network,
                source.task,
                experiment.data,
                checked["image"],
                checked["spacing_mm"],
                experiment.inference,
                checked.get("table"),
            )
        return operating.added(found, source.points)

    if experiment.data.table:

        @tf.function(input_signature=_specs(experiment.data), autograph=False)
        def of_both(image: tf.Tensor, spacing_mm: tf.Tensor, table: tf.Tensor) -> dict[str, tf.Tensor]:
            return answered({"image": image, "spacing_mm": spacing_mm, "table": table})

        return of_both

    @tf.function(input_signature=_specs(experiment.data), autograph=False)
    def of_image(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
        return answered({"image": image, "spacing_mm": spacing_mm})

    return of_image


def _stored(answer: Any, data: config.Data) -> Any:
    image, spacing, *table = _specs(data)
    mapping = [tf.TensorSpec([None, None], tf.float32, name=f"rescale_{name}") for name in ("slope", "intercept")]
    specs = [tf.TensorSpec(image.shape, tf.int16, name="image"), *mapping, spacing, *table]

    def answered(image: tf.Tensor, *mapping_and_beside: tf.Tensor) -> dict[str, tf.Tensor]:
        slope, intercept, *beside = mapping_and_beside
        found: dict[str, tf.Tensor] = answer(_modality(image, slope, intercept, data), *beside)
        return found

    if data.table:

        @tf.function(input_signature=specs, autograph=False)
        def of_both(
            image: tf.Tensor,
            rescale_slope: tf.Tensor,
            rescale_intercept: tf.Tensor,
            spacing_mm: tf.Tensor,
            table: tf.Tensor,
        ) -> dict[str, tf.Tensor]:
            return answered(image, rescale_slope, rescale_intercept, spacing_mm, table)

        return of_both

    @tf.function(input_signature=specs, autograph=False)
    def of_image(
        image: tf.Tensor, rescale_slope: tf.Tensor, rescale_intercept: tf.Tensor, spacing_mm: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return answered(image, rescale_slope, rescale_intercept, spacing_mm)

    return of_image


def _modality(image: tf.Tensor, slope: tf.Tensor, intercept: tf.Tensor, data: config.Data) -> tf.Tensor:
    ones, mapping = [1] * len(data.image_size), guards.stored(slope, intercept, image, data)
    factors = [tf.reshape(one, tf.concat([tf.shape(one), ones], 0)) for one in mapping]
    return tf.cast(image, tf.float32) * factors[0] + factors[1]


def _examples(answer: Any, data: config.Data) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def of_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return _of_records(examples, answer, data)

    return of_examples


def _named(answer: Any, data: config.Data, names: Mapping[str, str]) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def of_inputs(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        found = _of_records(inputs, answer, data)
        return {name: found[of] for name, of in names.items()}

    return of_inputs


def _of_records(serialized: tf.Tensor, answer: Any, data: config.Data) -> dict[str, tf.Tensor]:
    """Returns the answers to serialized records, (batch,) string, one after the other: they may differ in size.

    Masks are padded with 0 behind to the largest image; `mask_size` int32 (batch, rank) says how much of each is its.
    """
    with tf.control_dependencies([guards.some(serialized)]):
        return _mapped(tf.identity(serialized), answer, data)


def _mapped(serialized: tf.Tensor, answer: Any, data: config.Data) -> dict[str, tf.Tensor]:
    rank = len(data.image_size)
    sizes = tf.io.parse_example(serialized, {"image/shape": tf.io.FixedLenFeature([rank + 1], tf.int64)})["image/shape"]
    sizes = tf.cast(sizes[:, :rank], tf.int32)
    largest = tf.reduce_max(sizes, axis=0)

    def one(record: tf.Tensor) -> dict[str, tf.Tensor]:
        found = {name: value[0] for name, value in answer(*_given(record, data)).items()}
        if "mask" in found:
            behind = largest - tf.shape(found["mask"])
            found["mask"] = tf.pad(found["mask"], tf.stack([tf.zeros_like(behind), behind], axis=1))
        return found

    outputs = answer.get_concrete_function().structured_outputs
    specs = {name: tf.TensorSpec(value.shape[1:], value.dtype) for name, value in outputs.items()}
    # One at a time: each holds a network's features, and the network itself uses all processors.
    found: dict[str, tf.Tensor] = tf.map_fn(one, serialized, fn_output_signature=specs, parallel_iterations=1)
    return {**found, "mask_size": sizes} if "mask" in found else found


def _given(record: tf.Tensor, data: config.Data) -> list[tf.Tensor]:
    wanted = {*_OF_RECORDS, *data.table}
    fields = pipeline.parse(record, tuple(one for one in convert.fields_of(data) if one.name in wanted))
    image, slope, intercept, spacing_mm = (fields[name][None] for name in _OF_RECORDS)
    given = [_modality(image, slope, intercept, data), guards.spacing(spacing_mm, data)]
    if data.table:
        given.append(tf.stack([_column(name, fields[name]) for name in data.table])[None])
    return given


def _column(name: str, value: tf.Tensor) -> tf.Tensor:
    """Returns a fact of a record as `clinical.table` gives it."""
    if name != "sex":
        return value
    found = tf.constant(float("nan"))
    for said, number in clinical.SEXES.items():
        found = tf.where(value == said, number, found)
    return found


def _telling(experiment: config.Experiment) -> Any:
    """Returns the function that tells the data section: clients set images on the records' grid by it."""
    data = json.dumps(config.to_json(experiment)["data"], sort_keys=True)

    # An input, though none is needed: there is no call without one.
    @tf.function(
        input_signature=[tf.TensorSpec([None, len(experiment.data.image_size)], tf.float32, name="spacing_mm")]
    )
    def told(spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"data": tf.fill(tf.shape(spacing_mm)[:1], data)}

    return told


def name_methods(folder: str, names: set[str]) -> None:
    """Writes into a SavedModel what TensorFlow Serving's Classify and Regress look for where they are told to look.

    TensorFlow 2 writes the method name of Predict for every signature.
    """
    wanted = {name: method for name, method in _LEGACY.items() if name in names}
    if not wanted:
        return
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder)
    for name, method in wanted.items():
        updater.replace_method_name(signature_key=name, method_name=method, tags="serve")
    updater.save()
