"""The table that `messages` builds TensorFlow Serving's wire messages from: names, field numbers, types.

Source: tensorflow/core/framework/{tensor,tensor_shape}.proto, tensorflow/core/protobuf/{meta_graph,saved_model}.proto,
tensorflow/core/example/*.proto, tensorflow_serving/{apis,config}/*.proto, session_bundle_config.proto,
grpc/health/v1/health.proto, grpc/reflection/v1/reflection.proto.
"""

# message: (field, number, type). A type in brackets is repeated; "<T>" is a map from string to T; "T@name" stands in
# the oneof of that name.
FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "google.protobuf.Any": (("type_url", 1, "string"), ("value", 2, "bytes")),
    "google.protobuf.Int64Value": (("value", 1, "int64"),),
    "google.protobuf.StringValue": (("value", 1, "string"),),
    "google.protobuf.BoolValue": (("value", 1, "bool"),),
    "tensorflow.Dim": (("size", 1, "int64"), ("name", 2, "string")),
    "tensorflow.TensorShapeProto": (("dim", 2, "[tensorflow.Dim]"), ("unknown_rank", 3, "bool")),
    "tensorflow.TensorProto": (
        ("dtype", 1, "int32"), ("tensor_shape", 2, "tensorflow.TensorShapeProto"), ("version_number", 3, "int32"),
        ("tensor_content", 4, "bytes"), ("float_val", 5, "[float]"), ("double_val", 6, "[double]"),
        ("int_val", 7, "[int32]"), ("string_val", 8, "[bytes]"), ("scomplex_val", 9, "[float]"),
        ("int64_val", 10, "[int64]"), ("bool_val", 11, "[bool]"), ("dcomplex_val", 12, "[double]"),
        ("half_val", 13, "[int32]"), ("uint32_val", 16, "[uint32]"), ("uint64_val", 17, "[uint64]"),
    ),
    "tensorflow.BytesList": (("value", 1, "[bytes]"),),
    "tensorflow.FloatList": (("value", 1, "[float]"),),
    "tensorflow.Int64List": (("value", 1, "[int64]"),),
    "tensorflow.Feature": (
        ("bytes_list", 1, "tensorflow.BytesList@kind"), ("float_list", 2, "tensorflow.FloatList@kind"),
        ("int64_list", 3, "tensorflow.Int64List@kind"),
    ),
    "tensorflow.Features": (("feature", 1, "<tensorflow.Feature>"),),
    "tensorflow.Example": (("features", 1, "tensorflow.Features"),),
    "tensorflow.TensorInfo": (
        ("name", 1, "string"), ("dtype", 2, "int32"), ("tensor_shape", 3, "tensorflow.TensorShapeProto"),
    ),
    "tensorflow.SignatureDef": (
        ("inputs", 1, "<tensorflow.TensorInfo>"), ("outputs", 2, "<tensorflow.TensorInfo>"),
        ("method_name", 3, "string"), ("defaults", 4, "<tensorflow.TensorProto>"),
    ),
    "tensorflow.MetaInfoDef": (("tags", 4, "[string]"),),
    "tensorflow.MetaGraphDef": (
        ("meta_info_def", 1, "tensorflow.MetaInfoDef"), ("signature_def", 5, "<tensorflow.SignatureDef>"),
    ),
    "tensorflow.SavedModel": (("meta_graphs", 2, "[tensorflow.MetaGraphDef]"),),
    "tensorflow.serving.ModelSpec": (
        ("name", 1, "string"), ("version", 2, "google.protobuf.Int64Value@version_choice"),
        ("signature_name", 3, "string"), ("version_label", 4, "string@version_choice"),
    ),
    "tensorflow.serving.PredictRequest": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("inputs", 2, "<tensorflow.TensorProto>"),
        ("output_filter", 3, "[string]"),
    ),
    "tensorflow.serving.PredictResponse": (
        ("outputs", 1, "<tensorflow.TensorProto>"), ("model_spec", 2, "tensorflow.serving.ModelSpec"),
    ),
    "tensorflow.serving.SignatureDefMap": (("signature_def", 1, "<tensorflow.SignatureDef>"),),
    "tensorflow.serving.GetModelMetadataRequest": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("metadata_field", 2, "[string]"),
    ),
    "tensorflow.serving.GetModelMetadataResponse": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("metadata", 2, "<google.protobuf.Any>"),
    ),
    "tensorflow.serving.StatusProto": (("error_code", 1, "int32"), ("error_message", 2, "string")),
    "tensorflow.serving.ModelVersionStatus": (
        ("version", 1, "int64"), ("state", 2, "int32"), ("status", 3, "tensorflow.serving.StatusProto"),
    ),
    "tensorflow.serving.GetModelStatusRequest": (("model_spec", 1, "tensorflow.serving.ModelSpec"),),
    "tensorflow.serving.GetModelStatusResponse": (
        ("model_version_status", 1, "[tensorflow.serving.ModelVersionStatus]"),
    ),
    "tensorflow.serving.ExampleList": (("examples", 1, "[tensorflow.Example]"),),
    "tensorflow.serving.ExampleListWithContext": (
        ("examples", 1, "[tensorflow.Example]"), ("context", 2, "tensorflow.Example"),
    ),
    "tensorflow.serving.Input": (
        ("example_list", 1, "tensorflow.serving.ExampleList@kind"),
        ("example_list_with_context", 2, "tensorflow.serving.ExampleListWithContext@kind"),
    ),
    "tensorflow.serving.Class": (("label", 1, "string"), ("score", 2, "float")),
    "tensorflow.serving.Classifications": (("classes", 1, "[tensorflow.serving.Class]"),),
    "tensorflow.serving.ClassificationResult": (("classifications", 1, "[tensorflow.serving.Classifications]"),),
    "tensorflow.serving.ClassificationRequest": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("input", 2, "tensorflow.serving.Input"),
    ),
    "tensorflow.serving.ClassificationResponse": (
        ("result", 1, "tensorflow.serving.ClassificationResult"), ("model_spec", 2, "tensorflow.serving.ModelSpec"),
    ),
    "tensorflow.serving.Regression": (("value", 1, "float"),),
    "tensorflow.serving.RegressionResult": (("regressions", 1, "[tensorflow.serving.Regression]"),),
    "tensorflow.serving.RegressionRequest": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("input", 2, "tensorflow.serving.Input"),
    ),
    "tensorflow.serving.RegressionResponse": (
        ("result", 1, "tensorflow.serving.RegressionResult"), ("model_spec", 2, "tensorflow.serving.ModelSpec"),
    ),
    "tensorflow.serving.InferenceTask": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("method_name", 2, "string"),
    ),
    "tensorflow.serving.InferenceResult": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"),
        ("classification_result", 2, "tensorflow.serving.ClassificationResult@result"),
        ("regression_result", 3, "tensorflow.serving.RegressionResult@result"),
    ),
    "tensorflow.serving.MultiInferenceRequest": (
        ("tasks", 1, "[tensorflow.serving.InferenceTask]"), ("input", 2, "tensorflow.serving.Input"),
    ),
    "tensorflow.serving.MultiInferenceResponse": (("results", 1, "[tensorflow.serving.InferenceResult]"),),
    "tensorflow.serving.LogMetadata": (
        ("model_spec", 1, "tensorflow.serving.ModelSpec"), ("saved_model_tags", 3, "[string]"),
        ("timestamp_secs", 4, "int64"),
    ),
    "tensorflow.serving.ClassifyLog": (
        ("request", 1, "tensorflow.serving.ClassificationRequest"),
        ("response", 2, "tensorflow.serving.ClassificationResponse"),
    ),
    "tensorflow.serving.RegressLog": (
        ("request", 1, "tensorflow.serving.RegressionRequest"),
        ("response", 2, "tensorflow.serving.RegressionResponse"),
    ),
    "tensorflow.serving.PredictLog": (
        ("request", 1, "tensorflow.serving.PredictRequest"), ("response", 2, "tensorflow.serving.PredictResponse"),
    ),
    "tensorflow.serving.MultiInferenceLog": (
        ("request", 1, "tensorflow.serving.MultiInferenceRequest"),
        ("response", 2, "tensorflow.serving.MultiInferenceResponse"),
    ),
    "tensorflow.serving.PredictionLog": (
        ("log_metadata", 1, "tensorflow.serving.LogMetadata"),
        ("classify_log", 2, "tensorflow.serving.ClassifyLog@log_type"),
        ("regress_log", 3, "tensorflow.serving.RegressLog@log_type"),
        ("multi_inference_log", 4, "tensorflow.serving.MultiInferenceLog@log_type"),
        ("predict_log", 6, "tensorflow.serving.PredictLog@log_type"),
    ),
    "tensorflow.serving.PolicyLatest": (("num_versions", 1, "uint32"),),
    "tensorflow.serving.PolicyAll": (),
    "tensorflow.serving.PolicySpecific": (("versions", 1, "[int64]"),),
    "tensorflow.serving.VersionPolicy": (
        ("latest", 100, "tensorflow.serving.PolicyLatest@policy_choice"),
        ("all", 101, "tensorflow.serving.PolicyAll@policy_choice"),
        ("specific", 102, "tensorflow.serving.PolicySpecific@policy_choice"),
    ),
    "tensorflow.serving.ModelConfig": (
        ("name", 1, "string"), ("base_path", 2, "string"), ("model_type", 3, "enum tensorflow.serving.ModelType"),
        ("model_platform", 4, "string"), ("model_version_policy", 7, "tensorflow.serving.VersionPolicy"),
        ("version_labels", 8, "<int64>"), ("logging_config", 6, "google.protobuf.Any"),
    ),
    "tensorflow.serving.ModelConfigList": (("config", 1, "[tensorflow.serving.ModelConfig]"),),
    "tensorflow.serving.ModelServerConfig": (
        ("model_config_list", 1, "tensorflow.serving.ModelConfigList@config"),
        ("custom_model_config", 2, "google.protobuf.Any@config"),
    ),
    "tensorflow.serving.ReloadConfigRequest": (
        ("config", 1, "tensorflow.serving.ModelServerConfig"), ("metric_names", 2, "[string]"),
    ),
    "tensorflow.serving.Metric": (("name", 1, "string"), ("int64_value_increase", 2, "int64@value_increase")),
    "tensorflow.serving.ReloadConfigResponse": (
        ("status", 1, "tensorflow.serving.StatusProto"), ("metric", 2, "[tensorflow.serving.Metric]"),
    ),
    "tensorflow.serving.BatchingParameters": (
        ("max_batch_size", 1, "google.protobuf.Int64Value"), ("batch_timeout_micros", 2, "google.protobuf.Int64Value"),
        ("max_enqueued_batches", 3, "google.protobuf.Int64Value"),
        ("num_batch_threads", 4, "google.protobuf.Int64Value"),
        ("thread_pool_name", 5, "google.protobuf.StringValue"), ("allowed_batch_sizes", 6, "[int64]"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, "google.protobuf.BoolValue"),
        ("max_execution_batch_size", 9, "google.protobuf.Int64Value"),
    ),
    "tensorflow.serving.SSLConfig": (
        ("server_key", 1, "string"), ("server_cert", 2, "string"), ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ),
    "tensorflow.serving.PrometheusConfig": (("enable", 1, "bool"), ("path", 2, "string")),
    "tensorflow.serving.MonitoringConfig": (("prometheus_config", 1, "tensorflow.serving.PrometheusConfig"),),
    "grpc.health.v1.HealthCheckRequest": (("service", 1, "string"),),
    "grpc.health.v1.HealthCheckResponse": (("status", 1, "int32"),),
    **{
        f"grpc.reflection.{version}.{name}": fields
        for version in ("v1alpha", "v1")
        for name, fields in {
            "ExtensionRequest": (("containing_type", 1, "string"), ("extension_number", 2, "int32")),
            "ServerReflectionRequest": (
                ("host", 1, "string"), ("file_by_filename", 3, "string@message_request"),
                ("file_containing_symbol", 4, "string@message_request"),
                ("file_containing_extension", 5, f"grpc.reflection.{version}.ExtensionRequest@message_request"),
                ("all_extension_numbers_of_type", 6, "string@message_request"),
                ("list_services", 7, "string@message_request"),
            ),
            "FileDescriptorResponse": (("file_descriptor_proto", 1, "[bytes]"),),
            "ServiceResponse": (("name", 1, "string"),),
            "ListServiceResponse": (("service", 1, f"[grpc.reflection.{version}.ServiceResponse]"),),
            "ErrorResponse": (("error_code", 1, "int32"), ("error_message", 2, "string")),
            "ServerReflectionResponse": (
                ("valid_host", 1, "string"),
                ("original_request", 2, f"grpc.reflection.{version}.ServerReflectionRequest"),
                ("file_descriptor_response", 4, f"grpc.reflection.{version}.FileDescriptorResponse@message_response"),
                ("list_services_response", 6, f"grpc.reflection.{version}.ListServiceResponse@message_response"),
                ("error_response", 7, f"grpc.reflection.{version}.ErrorResponse@message_response"),
            ),
        }.items()
    },
}  # fmt: skip

# Enumerations that people write by name in text files; all others are int32 here, which is the same on the wire.
ENUMS: dict[str, tuple[str, ...]] = {"tensorflow.serving.ModelType": ("MODEL_TYPE_UNSPECIFIED", "TENSORFLOW", "OTHER")}

# service: method: (request, reply), within the service's package; "stream" where there may be several.
SERVICES: dict[str, dict[str, tuple[str, str]]] = {
    "tensorflow.serving.PredictionService": {
        "Classify": ("ClassificationRequest", "ClassificationResponse"),
        "Regress": ("RegressionRequest", "RegressionResponse"),
        "Predict": ("PredictRequest", "PredictResponse"),
        "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
    },
    "grpc.health.v1.Health": {
        "Check": ("HealthCheckRequest", "HealthCheckResponse"),
        "Watch": ("HealthCheckRequest", "stream HealthCheckResponse"),
    },
    "grpc.reflection.v1alpha.ServerReflection": {
        "ServerReflectionInfo": ("stream ServerReflectionRequest", "stream ServerReflectionResponse")
    },
    "grpc.reflection.v1.ServerReflection": {
        "ServerReflectionInfo": ("stream ServerReflectionRequest", "stream ServerReflectionResponse")
    },
}
