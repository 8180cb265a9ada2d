"""What PredictionService answers: a request's message in, a reply's bytes out, on one version of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from serving import batching, codec, examples, messages, models, protocol, refusals, signatures

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Asked:
    """One version, ready to answer one request.

    Attributes:
        model: The version.
        runner: What answers.
        name: The name that the model is served under.
        timeout_s: What is left of the request's deadline, None without one.
        is_wanted: Tells whether the client still waits for the answer.
    """

    model: models.Model
    runner: batching.Runner
    name: str
    timeout_s: float | None = None
    is_wanted: Callable[[], bool] = batching.always

    def outputs(self, signature: str, inputs: Mapping[str, np.ndarray], wanted: Any = ()) -> dict[str, np.ndarray]:
        """Returns the model's outputs.

        Raises:
            Refusal: The inputs do not fit, or the model failed.
        """
        try:
            return self.runner.answer(signature, inputs, list(wanted), self.timeout_s, self.is_wanted)
        except models.BadRequest as error:
            raise refusals.Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        except models.UnknownSignature as error:
            raise refusals.Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from error
        except models.ModelFailed as error:
            raise refusals.Refusal(_CODES.get(error.code, grpc.StatusCode.INTERNAL), str(error)) from error

    def fill(self, spec: Any, signature: str) -> None:
        """Says in a reply's ModelSpec who answered."""
        spec.name, spec.signature_name = self.name, signature
        spec.version.value = self.model.version


def predict_request(data: bytes, max_bytes: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns a PredictRequest without its inputs, and those as arrays that share its bytes.

    Raises:
        Refusal: No such message, or a tensor that contradicts itself; all together take more than `max_bytes`.
    """
    try:
        inputs, asked = codec.inputs_of(data, max_bytes)
    except protocol.ProtocolError as error:
        refusals.invalid(f"the request is not a PredictRequest that can be read: input {error}")
    return asked, inputs


def predict(asked: Asked, request: Any, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns a PredictResponse's bytes."""
    signature = request.model_spec.signature_name
    outputs = asked.outputs(signature, inputs, request.output_filter)
    head = messages.PredictResponse()
    asked.fill(head.model_spec, signature or signatures.DEFAULT)
    try:
        return codec.response(head, outputs)
    except protocol.ProtocolError as error:
        raise refusals.Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the answer cannot be sent: {error}") from error


def classify(asked: Asked, request: Any) -> Any:
    """Returns a ClassificationResponse."""
    reply = messages.ClassificationResponse()
    spec = request.model_spec
    reply.result.SetInParent()
    used = examples.classified(asked.model.signatures, spec.signature_name, request.input, asked.outputs, reply.result)
    asked.fill(reply.model_spec, used)
    return reply


def regress(asked: Asked, request: Any) -> Any:
    """Returns a RegressionResponse."""
    reply = messages.RegressionResponse()
    spec = request.model_spec
    reply.result.SetInParent()
    used = examples.regressed(asked.model.signatures, spec.signature_name, request.input, asked.outputs, reply.result)
    asked.fill(reply.model_spec, used)
    return reply


def multi_inference(asked: Asked, request: Any) -> Any:
    """Returns a MultiInferenceResponse: each task's answer to the same examples.

    Raises:
        Refusal: Tasks of several models, one signature twice, or no classify or regress.
    """
    check_tasks(request)
    reply = messages.MultiInferenceResponse()
    fillers: dict[str, tuple[Callable[..., str], str]] = {
        examples.CLASSIFY: (examples.classified, "classification_result"),
        examples.REGRESS: (examples.regressed, "regression_result"),
    }
    for task in request.tasks:
        filler, field = fillers[task.method_name]
        result = reply.results.add()
        into = getattr(result, field)
        into.SetInParent()
        spec = task.model_spec
        used = filler(asked.model.signatures, spec.signature_name, request.input, asked.outputs, into)
        asked.fill(result.model_spec, used)
    return reply


def check_tasks(request: Any) -> None:
    """Refuses a MultiInferenceRequest that no one model can answer.

    Raises:
        Refusal: See `multi_inference`.
    """
    if not request.tasks:
        refusals.invalid("Inference request has no tasks")
    first = request.tasks[0].model_spec
    seen = set()
    for task in request.tasks:
        if task.method_name not in (examples.CLASSIFY, examples.REGRESS):
            raise refusals.Refusal(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name[:99]!r}; "
                f"there are {examples.CLASSIFY} and {examples.REGRESS}",
            )
        if task.model_spec.name != first.name:
            refusals.invalid("all tasks of a MultiInferenceRequest must name the same model")
        if task.model_spec.WhichOneof("version_choice") and _version(task.model_spec) != _version(first):
            refusals.invalid("all tasks of a MultiInferenceRequest must name the same version")
        key = (task.method_name, task.model_spec.signature_name)
        if key in seen:
            refusals.invalid(f"Duplicate evaluation of signature: {task.model_spec.signature_name[:99]!r}")
        seen.add(key)


def _version(spec: Any) -> tuple[str | None, int, str]:
    return spec.WhichOneof("version_choice"), spec.version.value, spec.version_label
