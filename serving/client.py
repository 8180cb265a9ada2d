"""A client for `radkit serve` and TensorFlow Serving that needs no TensorFlow: numpy, protobuf and grpc only.

from serving.client import Client

with Client("127.0.0.1:8500") as client:
    print(client.metadata("hippocampus").signature.inputs)
    outputs = client.predict("hippocampus", {"image": image, "spacing_mm": spacing_mm})
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from radkit.errors import UserError
from serving import channels, codec, messages, protocol, signatures
from serving.channels import Tls

_Key = TypeVar("_Key")
_LOOK_S = 0.5  # between two looks at signals while answers are waited for


class Refused(UserError):
    """The server answered, and would not or could not do this request; another may succeed."""


class Gone(UserError):
    """No server answers, or not in time: the same call may succeed later."""


class Missing(UserError):
    """The server has no such model or version, or has it no more."""


@dataclass(frozen=True)
class Metadata:
    """What the server says of a model: the version that answers, its default signature, and the others by name."""

    version: int
    signature: signatures.Signature
    others: Mapping[str, signatures.Signature] = field(default_factory=dict)


class Client:
    """One connection, made at the first call and kept until `close`; may be shared by threads.

    Args:
        server: `host:port`.
        timeout_s: How long one attempt of a call may take. A server that is not there is asked five times within
            three seconds, a busy one (RESOURCE_EXHAUSTED) eight times within half a minute.
        max_message_bytes: The largest request and reply.
        tls: How to encrypt; None: not at all.

    Raises:
        UserError: `server` is no address, or a file of `tls` cannot be read.
    """

    def __init__(
        self, server: str, timeout_s: float = 60.0, max_message_bytes: int = 1 << 30, tls: Tls | None = None
    ) -> None:
        self._server, self._timeout_s = server, timeout_s
        self._channel = channels.opened(server, tls, max_message_bytes)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        version: int | None = None,
        output_filter: Sequence[str] = (),
        signature: str = "",
    ) -> dict[str, np.ndarray]:
        """Returns the model's outputs by name; strings are object arrays of bytes.

        Args:
            model: The name it is served under.
            inputs: Arrays by input name, with the batch axis.
            version: Only this version may answer; None takes the server's.
            output_filter: Names of the outputs wanted; empty means all.
            signature: Which of the model's; empty means `serving_default`.

        Raises:
            protocol.ProtocolError: An array that cannot be sent.
            Refused: The server's words on what is wrong with the inputs, or the model's own failure; or an answer that
                cannot be read.
            Gone: No server, no answer in time.
            Missing: No such model or version.
        """
        request = messages.PredictRequest(output_filter=output_filter)
        _fill(request.model_spec, model, version)
        request.model_spec.signature_name = signature
        reply = self._call(messages.PREDICT, codec.request(request, inputs), model)
        try:
            return codec.outputs_of(reply)[0]
        except protocol.ProtocolError as error:
            raise Refused(f"the answer of {self._server} cannot be read: {error}") from error

    def stream(
        self,
        model: str,
        requests: Iterable[tuple[_Key, Mapping[str, Any]]],
        version: int | None = None,
        in_flight: int = 4,
    ) -> Iterator[tuple[_Key, dict[str, np.ndarray] | Refused]]:
        """Yields the outputs of many requests as they come, several calls under way at once.

        `requests` is read no faster than it is answered, by the thread that iterates: no more than `in_flight` of them
        are held in memory.

        Args:
            model: The name it is served under.
            requests: What tells a request from others, and its inputs.
            version: Only this version may answer; None takes the server's.
            in_flight: Calls at once.

        Yields:
            What tells the request, and its outputs; or why the server refused this one.

        Raises:
            UserError: As `predict`, but for what it refuses. What was answered until then was yielded.
        """
        if in_flight < 1:
            raise UserError(f"in_flight must be at least 1, not {in_flight}")
        under_way: dict[futures.Future[dict[str, np.ndarray]], _Key] = {}
        left = iter(requests)
        threads = futures.ThreadPoolExecutor(in_flight)
        try:
            while True:
                while len(under_way) < in_flight and (one := next(left, None)) is not None:
                    under_way[threads.submit(self._sent, model, one[1], version)] = one[0]
                    del one
                if not under_way:
                    return
                yield from _ended(under_way)
        finally:  # whoever stops in the middle waits for no answer; `close` ends the calls
            threads.shutdown(wait=False, cancel_futures=True)

    def _sent(self, model: str, inputs: Mapping[str, Any], version: int | None) -> dict[str, np.ndarray]:
        try:
            return self.predict(model, inputs, version)
        except protocol.ProtocolError as error:
            raise Refused(f"the inputs of model {model!r} cannot be sent: {error}") from error

    def metadata(self, model: str, version: int | None = None) -> Metadata:
        """Returns the version that answers, and what goes in and comes out.

        Raises:
            UserError: No server, no such model or signature.
        """
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, model, version)
        answer = self._call(messages.GET_MODEL_METADATA, request.SerializeToString(), model)
        try:
            reply = messages.GetModelMetadataResponse.FromString(answer)
            found = messages.SignatureDefMap.FromString(reply.metadata["signature_def"].value).signature_def
        except DecodeError as error:
            raise UserError(f"the metadata of {model!r} from {self._server} cannot be read") from error
        if signatures.DEFAULT not in found:
            raise UserError(f"model {model!r} has no signature {signatures.DEFAULT}; there are: {', '.join(found)}")
        known = {name: signatures.from_message(definition) for name, definition in found.items()}
        return Metadata(reply.model_spec.version.value, known.pop(signatures.DEFAULT), known)

    def status(self, model: str) -> dict[int, str]:
        """Returns the state of each version, as `{3: "AVAILABLE"}`.

        Raises:
            UserError: No server, no such model.
        """
        request = messages.GetModelStatusRequest()
        _fill(request.model_spec, model, None)
        answer = self._call(messages.GET_MODEL_STATUS, request.SerializeToString(), model)
        try:
            reply = messages.GetModelStatusResponse.FromString(answer)
        except DecodeError as error:
            raise UserError(f"the status of {model!r} from {self._server} cannot be read") from error
        return {v.version: messages.VERSION_STATES.get(v.state, str(v.state)) for v in reply.model_version_status}

    def _call(self, method: str, request: bytes, model: str) -> bytes:
        call = self._channel.unary_unary(method)
        attempt = 0
        while True:
            try:
                reply: bytes = call(request, timeout=self._timeout_s)
                return reply
            except grpc.RpcError as error:
                waits_s = channels.waits_of(error)
                if attempt >= len(waits_s):
                    raise self._told(error, model) from error
                time.sleep(channels.jittered(waits_s[attempt]))
                attempt += 1

    def _told(self, error: Any, model: str) -> UserError:
        code, words = error.code(), error.details() or "no words"
        if code == grpc.StatusCode.UNAVAILABLE:
            return Gone(
                f"no server answers at {self._server} ({words}); check the address and TLS, or start one with "
                "radkit serve"
            )
        if code == grpc.StatusCode.NOT_FOUND:
            return Missing(f"{self._server} does not serve what was asked for: {words}")
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return Gone(f"{self._server} did not answer within {self._timeout_s:g} s; raise timeout_s")
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return UserError(f"{self._server} does not speak TensorFlow Serving's protocol: {words}")
        return Refused(f"model {model!r} refused ({code.name}): {words}")


def _ended(
    under_way: dict[futures.Future[dict[str, np.ndarray]], _Key],
) -> Iterator[tuple[_Key, dict[str, np.ndarray] | Refused]]:
    """Waits for one call at least, and yields those that ended, good ones first: a bad one may end everything."""
    done: set[futures.Future[dict[str, np.ndarray]]] = set()
    while not done:  # not without end: a signal that the system gave to another thread does not end the wait
        done = futures.wait(under_way, _LOOK_S, futures.FIRST_COMPLETED).done
    for future in sorted(done, key=lambda one: one.exception() is not None):
        key = under_way.pop(future)
        error = future.exception()
        if error is not None and not isinstance(error, Refused):
            raise error
        yield key, error or future.result()


def _fill(spec: Any, model: str, version: int | None) -> None:
    spec.name = model
    if version is not None:
        spec.version.value = version
