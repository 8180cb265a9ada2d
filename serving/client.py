"""A client for `radkit serve` and TensorFlow Serving that needs no TensorFlow: numpy, protobuf and grpc only.

from serving.client import Client

with Client("127.0.0.1:8500") as client:
    print(client.metadata("hippocampus").signature.inputs)
    outputs = client.predict("hippocampus", {"image": image, "spacing_mm": spacing_mm})
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from radkit.errors import UserError
from serving import messages, protocol, signatures

# Waits between the attempts of a call that found no server: a restart takes some seconds.
BACKOFF_S = (0.2, 0.4, 0.8, 1.6)


class Refused(UserError):
    """The server answered, and would not or could not do this request; another may succeed."""


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
        timeout_s: How long one call may take.
        max_message_bytes: The largest request and reply.
    """

    def __init__(self, server: str, timeout_s: float = 60.0, max_message_bytes: int = 1 << 30) -> None:
        _check_address(server)
        self._server, self._timeout_s = server, timeout_s
        self._channel = grpc.insecure_channel(
            server,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                # Images of patients go to the server that was named, never through a proxy of the environment.
                ("grpc.enable_http_proxy", 0),
            ],
        )

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
            Refused: The server's words on what is wrong with the inputs, or the model's own failure.
            UserError: No server, no such model, no answer in time.
        """
        request = messages.PredictRequest(output_filter=output_filter)
        _fill(request.model_spec, model, version)
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            protocol.to_tensor(array, into=request.inputs[name])
        reply = self._call(messages.PREDICT, request, messages.PredictResponse)
        try:
            return {name: protocol.to_array(tensor) for name, tensor in reply.outputs.items()}
        except protocol.ProtocolError as error:
            raise UserError(f"the answer of {self._server} cannot be read: {error}") from error

    def metadata(self, model: str, version: int | None = None) -> Metadata:
        """Returns the version that answers, and what goes in and comes out.

        Raises:
            UserError: No server, no such model or signature.
        """
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, model, version)
        reply = self._call(messages.GET_MODEL_METADATA, request, messages.GetModelMetadataResponse)
        try:
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
        reply = self._call(messages.GET_MODEL_STATUS, request, messages.GetModelStatusResponse)
        return {v.version: messages.VERSION_STATES.get(v.state, str(v.state)) for v in reply.model_version_status}

    def _call(self, method: str, request: Any, reply: Any) -> Any:
        call = self._channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        for wait_s in (*BACKOFF_S, None):
            try:
                return call(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or wait_s is None:
                    raise self._told(error, request.model_spec.name) from error
                time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _told(self, error: Any, model: str) -> UserError:
        code, words = error.code(), error.details() or "no words"
        if code == grpc.StatusCode.UNAVAILABLE:
            return UserError(f"no server answers at {self._server}; check the address, or start one with radkit serve")
        if code == grpc.StatusCode.NOT_FOUND:
            return UserError(f"{self._server} does not serve what was asked for: {words}")
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return UserError(f"{self._server} did not answer within {self._timeout_s:g} s; raise timeout_s")
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return UserError(f"{self._server} does not speak TensorFlow Serving's protocol: {words}")
        return Refused(f"model {model!r} refused ({code.name}): {words}")


def _check_address(server: str) -> None:
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise UserError(f"server {server!r} is not host:port, as 127.0.0.1:8500")


def _fill(spec: Any, model: str, version: int | None) -> None:
    spec.name = model
    if version is not None:
        spec.version.value = version
