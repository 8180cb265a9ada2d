"""What each method answers, bytes in and bytes out, with TensorFlow Serving's status codes; no sockets here."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from radkit.errors import UserError
from serving import answering, audit, configs_text, counters, messages, protocol, refusals, registry
from serving.refusals import Refusal

_LOG = logging.getLogger(__name__)


class Service:
    """The methods of PredictionService and ModelService.

    Args:
        served: The models.
        max_bytes: What the inputs of one request may take.
        figures: Counts requests; None counts none.
        log: The audit log; None writes none.
    """

    def __init__(
        self,
        served: registry.Registry,
        max_bytes: int = protocol.MAX_BYTES,
        figures: counters.Figures | None = None,
        log: audit.Log | None = None,
    ) -> None:
        self.served, self.max_bytes, self.figures, self.log = served, max_bytes, figures, log
        self.methods: dict[str, Callable[[bytes, audit.Told], bytes]] = {
            "Predict": self.predict,
            "Classify": self._on_examples(messages.ClassificationRequest, answering.classify),
            "Regress": self._on_examples(messages.RegressionRequest, answering.regress),
            "MultiInference": self._multi_inference,
            "GetModelMetadata": self._metadata,
            "GetModelStatus": self._status,
            "HandleReloadConfigRequest": self._reload,
        }

    def call(self, method: Callable[[bytes, audit.Told], bytes], request: bytes, told: audit.Told) -> bytes:
        """Answers a request, counts it and writes its line of the audit log.

        Raises:
            Refusal: The request was refused or failed.
        """
        started = time.perf_counter()
        reply, refusal = b"", None
        try:
            reply = method(request, told)
        except Refusal as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - one request must not take the server down or show a traceback
            _LOG.exception("a call failed")
            words = f"the server failed ({type(error).__name__}); its log has more"
            refusal = Refusal(grpc.StatusCode.INTERNAL, words)
        status = "OK" if refusal is None else refusal.code.name
        seconds = time.perf_counter() - started
        if self.figures is not None:
            self.figures.request(told.model, told.method, told.entry, status, seconds)
        if self.log is not None:
            try:
                self.log.write(told, status, seconds, request, [reply])
            except OSError as error:
                _LOG.exception("the audit log failed")
                raise Refusal(
                    grpc.StatusCode.INTERNAL, "the audit log cannot be written; no answer is given"
                ) from error
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal  # it knows this frame: both, and the request's bytes, would stay until somebody tidies up
        return reply

    @contextmanager
    def asked(self, spec: Any, told: audit.Told) -> Iterator[answering.Asked]:
        """Yields the version that a ModelSpec asks for, and notes that it is the one.

        Raises:
            Refusal: No such model, version or label.
        """
        with self.served.use(spec) as held:
            assert held.model is not None
            assert held.runner is not None
            told.model, told.version, told.model_sha256 = held.name, held.version, held.model.sha256
            yield answering.Asked(held.model, held.runner, held.name, told.timeout_s, told.is_wanted)

    def predict(self, request: bytes, told: audit.Told) -> bytes:
        """Answers a PredictRequest with a PredictResponse."""
        message, inputs = answering.predict_request(request, self.max_bytes)
        with self.asked(message.model_spec, told) as asked:
            return answering.predict(asked, message, inputs)

    def _on_examples(self, kind: Any, answer: Callable[..., Any]) -> Callable[[bytes, audit.Told], bytes]:
        def call(request: bytes, told: audit.Told) -> bytes:
            message = parsed(kind, request)
            with self.asked(message.model_spec, told) as asked:
                return _bytes(answer(asked, message))

        return call

    def _multi_inference(self, request: bytes, told: audit.Told) -> bytes:
        message = parsed(messages.MultiInferenceRequest, request)
        answering.check_tasks(message)
        with self.asked(message.tasks[0].model_spec, told) as asked:
            return _bytes(answering.multi_inference(asked, message))

    def _metadata(self, request: bytes, told: audit.Told) -> bytes:
        message = parsed(messages.GetModelMetadataRequest, request)
        if not message.metadata_field:
            refusals.invalid(
                "GetModelMetadataRequest must specify at least one metadata_field; there is: signature_def"
            )
        for field in message.metadata_field:
            if field != "signature_def":
                refusals.invalid(f"Metadata field {field[:99]} is not supported; there is: signature_def")
        with self.asked(message.model_spec, told) as asked:
            answer = messages.GetModelMetadataResponse()
            asked.fill(answer.model_spec, "")
            packed = answer.metadata["signature_def"]
            packed.type_url = messages.SIGNATURE_DEF_URL
            packed.value = asked.model.definitions.SerializeToString(deterministic=True)
        return _bytes(answer)

    def _status(self, request: bytes, told: audit.Told) -> bytes:
        message = parsed(messages.GetModelStatusRequest, request)
        return _bytes(self.states(message.model_spec, told))

    def states(self, spec: Any, told: audit.Told) -> Any:
        """Returns a GetModelStatusResponse.

        Raises:
            Refusal: No such model, version or label.
        """
        answer = messages.GetModelStatusResponse()
        for held in self.served.states(spec):
            told.model = held.name
            version = answer.model_version_status.add(version=held.version, state=held.state)
            version.status.SetInParent()
            if held.error:
                version.status.error_code, version.status.error_message = registry.NOT_LOADED, held.error
        return answer

    def _reload(self, request: bytes, _: audit.Told) -> bytes:
        message = parsed(messages.ReloadConfigRequest, request)
        try:
            wanted = configs_text.wanted(message.config, "the request")
        except UserError as error:
            refusals.invalid(str(error))
        problems = self.served.configure(wanted)
        if problems:
            refusals.unfit("; ".join(problems))
        answer = messages.ReloadConfigResponse()
        answer.status.SetInParent()
        return _bytes(answer)


def parsed(kind: Any, data: bytes) -> Any:
    """Returns a message.

    Raises:
        Refusal: These bytes are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        refusals.invalid(
            f"the request is not a {kind.DESCRIPTOR.name} message: its {len(data)} bytes cannot be decoded"
        )


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
