"""The flags of `radkit serve`: its own, and `tensorflow_model_server`'s under their own names.

Flags of TensorFlow Serving that cannot be honoured here are refused by name, with the reason.
"""

import os
from pathlib import Path

from absl import flags

from radkit import program
from radkit.errors import UserError
from serving import configs_text, settings

# TensorFlow Serving's flags that change nothing here, and those that would, by what is to be said.
_WITHOUT_EFFECT = {
    "flush_filesystem_caches": "the operating system keeps what it likes",
    "num_load_threads": "versions are loaded one at a time",
    "num_unload_threads": "versions are drained each in a thread of its own",
    "remove_unused_fields_from_bundle_metagraph": "the graph's description is kept as it is",
    "enable_grpc_healthcheck_service": "always on",
    "enable_serialization_as_tensor_content": "always on",
    "enable_signature_method_name_check": "signatures are chosen by what they take and give",
    "servable_versions_always_present": "a folder that is away takes nothing out of service",
}
_REFUSED = {
    "use_alts_credentials": "ALTS is Google's own network's; use --ssl_config_file",
    "platform_config_file": "only TensorFlow's SavedModels are served",
    "tensorflow_session_config_file": "use --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism",
    "thread_pool_factory_config_file": "use --workers",
    "prefer_tflite_model": "only SavedModels are served",
    "num_tflite_pools": "only SavedModels are served",
    "num_tflite_interpreters_per_pool": "only SavedModels are served",
    "xla_cpu_compilation_enabled": "compiled graphs would be made anew for each size of image",
    "xla_gpu_compilation_enabled": "compiled graphs would be made anew for each size of image",
    "enable_per_model_batching_parameters": "use --autotune, which stores what is best beside each version",
    "mixed_precision": "an answer must be the one that was evaluated; export with another precision instead",
    "enable_profiler": "the profiler would show what is in memory",
    "skip_initialize_tpu": "TPUs are not served from",
}
# Those that may stand without a value: read as texts they would take the flag that follows for theirs.
_SWITCHES = {
    "flush_filesystem_caches", "remove_unused_fields_from_bundle_metagraph", "enable_grpc_healthcheck_service",
    "enable_serialization_as_tensor_content", "enable_signature_method_name_check",
    "servable_versions_always_present", "use_alts_credentials", "prefer_tflite_model", "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled", "enable_per_model_batching_parameters", "enable_profiler", "skip_initialize_tpu",
}  # fmt: skip
_FLAGS = "of tensorflow_model_server"


def define(values: flags.FlagValues) -> None:
    """Adds all flags."""
    _own(values)
    _models(values)
    _doors(values)
    _running(values)
    for told, reasons in (("Without effect", _WITHOUT_EFFECT), ("Refused", _REFUSED)):
        for name, why in reasons.items():
            if name in _SWITCHES:
                flags.DEFINE_boolean(name, None, f"{told}: {why}.", flag_values=values)
            else:
                flags.DEFINE_string(name, None, f"{told}: {why}.", flag_values=values)


def _own(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string("model", [], "NAME=FOLDER of a model; may be given again.", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 is every network.", flag_values=values)
    flags.DEFINE_integer(
        "workers", None, "Calls of a model answered at a time; what --autotune found, or as many as processors, when "
        "left out.", flag_values=values, lower_bound=1,
    )  # fmt: skip
    flags.DEFINE_integer(
        "max_queued_requests", 64, "Calls of a model that may wait; more get RESOURCE_EXHAUSTED.", flag_values=values,
        lower_bound=0,
    )  # fmt: skip
    flags.DEFINE_integer(
        "max_message_mib", 1024, "Largest request, MiB.", flag_values=values, lower_bound=1, upper_bound=2047
    )
    flags.DEFINE_string(
        "audit_log", None, "File that gets a line a request: id, model, version, digests; no pixels, no identities.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_boolean(
        "autotune", False, "Measure threads and batching of each model, store what is best beside it, then serve.",
        flag_values=values,
    )  # fmt: skip


def _models(values: flags.FlagValues) -> None:
    flags.DEFINE_string("model_name", "default", "Name of the model of --model_base_path.", flag_values=values)
    flags.DEFINE_string("model_base_path", None, "Folder of one model's versions.", flag_values=values)
    flags.DEFINE_string("model_config_file", None, "ModelServerConfig as text: the models.", flag_values=values)
    _number(values, "model_config_file_poll_wait_seconds", 0, "Seconds between looks at that file; 0: never again.")
    _number(values, "file_system_poll_wait_seconds", 1, "Seconds between looks for versions; 0: never again.")
    _number(values, "max_num_load_retries", 5, "How often a version that cannot be loaded is tried again.")
    _number(values, "load_retry_interval_micros", 60_000_000, "Microseconds between these tries; below 0: none.", None)
    flags.DEFINE_boolean(
        "allow_version_labels_for_unavailable_models", False, "Let labels name versions that are not available.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_boolean(
        "force_allow_any_version_labels_for_unavailable_models", False,
        "As --allow_version_labels_for_unavailable_models.", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_boolean("enable_model_warmup", True, "Play a version's warm-up requests at load.", flag_values=values)
    _number(values, "num_request_iterations_for_warmup", 1, "How often a warm-up request is played.", least=1)
    flags.DEFINE_string(
        "saved_model_tags", "serve", "Tag of the meta graph; `serve` alone is known.", flag_values=values
    )


def _doors(values: flags.FlagValues) -> None:
    _number(values, "port", 8500, "Port of gRPC; 0 takes a free one and prints it.", most=65535)
    flags.DEFINE_string("grpc_socket_path", "", "Socket to listen on, too.", flag_values=values)
    flags.DEFINE_integer(
        "rest_api_port", 0, "Port of HTTP; 0 for none, -1 takes a free one and prints it.", flag_values=values,
        lower_bound=-1, upper_bound=65535,
    )  # fmt: skip
    cpus = os.cpu_count() or 1
    _number(values, "rest_api_num_threads", 16 * cpus, "Connections of HTTP at a time.", least=1)
    _number(values, "rest_api_timeout_in_ms", 30_000, "How long an HTTP request may take.", least=1)
    flags.DEFINE_boolean("rest_api_enable_cors_support", False, "Let pages of other sites ask.", flag_values=values)
    flags.DEFINE_string("ssl_config_file", None, "SSLConfig as text: keys; HTTP is encrypted, too.", flag_values=values)
    flags.DEFINE_string("monitoring_config_file", None, "MonitoringConfig as text.", flag_values=values)
    flags.DEFINE_integer(
        "grpc_max_threads", None, "Calls read, waiting or answered at a time; enough for --workers and "
        "--max_queued_requests when left out.", flag_values=values, lower_bound=1,
    )  # fmt: skip
    flags.DEFINE_string("grpc_channel_arguments", "", "gRPC's own, as NAME=VALUE,NAME=VALUE.", flag_values=values)


def _running(values: flags.FlagValues) -> None:
    flags.DEFINE_boolean("enable_batching", False, "Join calls that wait.", flag_values=values)
    flags.DEFINE_string("batching_parameters_file", None, "BatchingParameters as text.", flag_values=values)
    both = "Both --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism; 0: each its own."
    _number(values, "tensorflow_session_parallelism", 0, both)
    _number(values, "tensorflow_intra_op_parallelism", 0, "Threads within an operation; 0 is TensorFlow's choice.")
    _number(values, "tensorflow_inter_op_parallelism", 0, "Operations of a call at a time; 0 is TensorFlow's choice.")
    flags.DEFINE_float(
        "per_process_gpu_memory_fraction", 0.0, "Share of a GPU's memory taken at once; 0: what is needed.",
        flag_values=values, lower_bound=0.0, upper_bound=1.0,
    )  # fmt: skip


def _number(
    values: flags.FlagValues, name: str, default: int, told: str, least: int | None = 0, most: int | None = None
) -> None:
    flags.DEFINE_integer(name, default, told, flag_values=values, lower_bound=least, upper_bound=most)


def check(values: flags.FlagValues) -> None:
    """Refuses flags that cannot be honoured, or not together.

    Raises:
        UserError: It names the flag and the reason.
    """
    for name, why in _REFUSED.items():
        if values[name].value not in (None, False, "", "0"):
            raise UserError(f"--{name} {_FLAGS} is not to be had here: {why}")
    if values["saved_model_tags"].value != "serve":
        raise UserError(f"--saved_model_tags={values['saved_model_tags'].value}: only the tag serve is served")
    if values["batching_parameters_file"].value and not values["enable_batching"].value:
        raise UserError("--batching_parameters_file needs --enable_batching")
    if not (values["model"].value or values["model_base_path"].value or values["model_config_file"].value):
        raise UserError("--model must be given, or --model_base_path, or --model_config_file (see --help)")
    if values["rest_api_port"].value > 0 and values["rest_api_port"].value == values["port"].value:
        raise UserError("--rest_api_port and --port must differ")


def wanted(values: flags.FlagValues) -> list[configs_text.Wanted]:
    """Returns the models that the flags name; a configuration file goes before --model_base_path, as in TF Serving.

    Raises:
        UserError: A text that is no NAME=FOLDER, a name given twice, a file that cannot be read.
    """
    found = by_name(values)
    if values["model_config_file"].value:
        found += configs_text.models_file(Path(values["model_config_file"].value))
    elif values["model_base_path"].value:
        name = configs_text.checked_name(values["model_name"].value, "--model_name")
        found.append(configs_text.Wanted(name, Path(values["model_base_path"].value)))
    return configs_text.once(found)


def by_name(values: flags.FlagValues) -> list[configs_text.Wanted]:
    """Returns the models of --model; errors as `wanted`."""
    return [configs_text.Wanted(name, folder) for name, folder in parse_models(values["model"].value).items()]


def parse_models(given: list[str]) -> dict[str, Path]:
    """Returns name to folder from `NAME=FOLDER` texts.

    >>> parse_models(["a=/models/a"])
    {'a': PosixPath('/models/a')}
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (equals and folder):
            raise UserError(f"--model {text!r} is not NAME=FOLDER")
        try:
            configs_text.checked_name(name, "--model")
        except UserError as error:
            raise UserError(f"--model {text!r} is not NAME=FOLDER: {error}") from error
        if name in found:
            raise UserError(f"--model {name} is given twice; each name is one folder")
        found[name] = Path(folder)
    return found


def wishes(values: flags.FlagValues) -> settings.Wishes:
    """Returns what the flags say of how models are run.

    Raises:
        UserError: The batching file cannot be read.
    """
    workers, waiting = values["workers"].value, values["max_queued_requests"].value
    if not values["batching_parameters_file"].value:
        return settings.Wishes(workers, waiting, values["enable_batching"].value)
    how, threads, most = configs_text.batching_file(Path(values["batching_parameters_file"].value))
    return settings.Wishes(workers or threads, most or waiting, True, how)


def channel_arguments(text: str) -> dict[str, int | str]:
    """Returns gRPC's arguments; whole numbers become numbers.

    >>> channel_arguments("grpc.max_connection_age_ms=5000")
    {'grpc.max_connection_age_ms': 5000}
    """
    found: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not (name and equals):
            raise UserError(f"--grpc_channel_arguments: {part!r} is not NAME=VALUE")
        found[name] = int(value) if value.lstrip("-").isdecimal() else value
    return found


# What a program needs to be one: see `radkit.program`.
FLAGS = program.new_flags(data_in=None, out=None)
define(FLAGS)
