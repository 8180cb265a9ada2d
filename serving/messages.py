"""TensorFlow Serving's wire messages, from a table: no TensorFlow, no generated files.

The messages are built in a private descriptor pool, so they live beside the stock `tensorflow` and
`tensorflow_serving` protos in one process. Only field numbers and types travel, and those are the stock ones;
fields that are not in the table (streaming options, resource handles) are skipped as protobuf skips unknown fields.
Nearly all enumerations are declared int32, which is the same on the wire. The table is `message_table`.
"""

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from serving import message_table

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")

PREDICT = f"/{PREDICTION_SERVICE}/Predict"
GET_MODEL_METADATA = f"/{PREDICTION_SERVICE}/GetModelMetadata"
GET_MODEL_STATUS = f"/{MODEL_SERVICE}/GetModelStatus"
HEALTH_CHECK = f"/{HEALTH_SERVICE}/Check"

SIGNATURE_DEF_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

# DataType, as JSON names it.
DATA_TYPES = {
    1: "DT_FLOAT", 2: "DT_DOUBLE", 3: "DT_INT32", 4: "DT_UINT8", 5: "DT_INT16", 6: "DT_INT8", 7: "DT_STRING",
    8: "DT_COMPLEX64", 9: "DT_INT64", 10: "DT_BOOL", 14: "DT_BFLOAT16", 17: "DT_UINT16", 18: "DT_COMPLEX128",
    19: "DT_HALF", 22: "DT_UINT32", 23: "DT_UINT64",
}  # fmt: skip

# ModelVersionStatus.State and HealthCheckResponse.ServingStatus.
VERSION_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@functools.cache
def files() -> dict[str, Any]:
    """Returns the FileDescriptorProto of each package of the table."""
    made: dict[str, Any] = {}
    for full_name, fields in message_table.FIELDS.items():
        package, name = full_name.rsplit(".", 1)
        if package not in made:
            # A package needs those before it in the table, which are in order of use.
            needs = [file.name for file in made.values()]
            made[package] = descriptor_pb2.FileDescriptorProto(
                name=f"{package}.proto", package=package, syntax="proto3", dependency=needs
            )
        message = made[package].message_type.add(name=name)
        for field in fields:
            _add_field(message, full_name, *field)
    for full_name, names in message_table.ENUMS.items():
        package, name = full_name.rsplit(".", 1)
        enum = made[package].enum_type.add(name=name)
        for number, value in enumerate(names):
            enum.value.add(name=value, number=number)
    for full_name, methods in message_table.SERVICES.items():
        package, name = full_name.rsplit(".", 1)
        _add_service(made[package].service.add(name=name), package, methods)
    return made


def _add_field(message: Any, full_name: str, name: str, number: int, kind: str) -> None:
    kind, _, choice = kind.partition("@")
    inner = kind.strip("[]<>")
    if kind.startswith("<"):
        entry = f"{name.title().replace('_', '')}Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, full_name, "key", 1, "string")
        _add_field(nested, full_name, "value", 2, inner)
        kind, inner = "[", f"{full_name}.{entry}"
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.startswith("[") else field.LABEL_OPTIONAL
    if choice:
        known = [one.name for one in message.oneof_decl]
        if choice not in known:
            message.oneof_decl.add(name=choice)
        field.oneof_index = [one.name for one in message.oneof_decl].index(choice)
    if inner.startswith("enum "):
        field.type, field.type_name = field.TYPE_ENUM, f".{inner.removeprefix('enum ')}"
    elif "." in inner:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{inner}"
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{inner.upper()}")


def _add_service(service: Any, package: str, methods: dict[str, tuple[str, str]]) -> None:
    for name, (request, reply) in methods.items():
        service.method.add(
            name=name,
            input_type=f".{package}.{request.removeprefix('stream ')}",
            output_type=f".{package}.{reply.removeprefix('stream ')}",
            client_streaming=request.startswith("stream "),
            server_streaming=reply.startswith("stream "),
        )


def _pool() -> descriptor_pool.DescriptorPool:
    """Returns a pool of its own with every message of the table, one file a package."""
    pool = descriptor_pool.DescriptorPool()
    for file in files().values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def of(full_name: str) -> Any:
    """Returns the class of a message of the table, by its full name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))


TensorProto = of("tensorflow.TensorProto")
SignatureDef = of("tensorflow.SignatureDef")
SavedModel = of("tensorflow.SavedModel")
ModelSpec = of("tensorflow.serving.ModelSpec")
PredictRequest = of("tensorflow.serving.PredictRequest")
PredictResponse = of("tensorflow.serving.PredictResponse")
SignatureDefMap = of("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = of("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = of("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = of("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = of("tensorflow.serving.GetModelStatusResponse")
ClassificationRequest = of("tensorflow.serving.ClassificationRequest")
ClassificationResponse = of("tensorflow.serving.ClassificationResponse")
RegressionRequest = of("tensorflow.serving.RegressionRequest")
RegressionResponse = of("tensorflow.serving.RegressionResponse")
MultiInferenceRequest = of("tensorflow.serving.MultiInferenceRequest")
MultiInferenceResponse = of("tensorflow.serving.MultiInferenceResponse")
PredictionLog = of("tensorflow.serving.PredictionLog")
ModelServerConfig = of("tensorflow.serving.ModelServerConfig")
ReloadConfigRequest = of("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = of("tensorflow.serving.ReloadConfigResponse")
BatchingParameters = of("tensorflow.serving.BatchingParameters")
SSLConfig = of("tensorflow.serving.SSLConfig")
MonitoringConfig = of("tensorflow.serving.MonitoringConfig")
Example = of("tensorflow.Example")
HealthCheckRequest = of("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = of("grpc.health.v1.HealthCheckResponse")
