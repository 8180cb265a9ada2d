"""The HTTP side of the server: TensorFlow Serving's REST API and its figures for Prometheus.

    GET  /v1/models/NAME[/versions/V|/labels/L]           state of the versions
    GET  /v1/models/NAME[/versions/V|/labels/L]/metadata  signatures
    POST /v1/models/NAME[/versions/V|/labels/L]:predict   also :classify, :regress
    GET  /monitoring/prometheus/metrics                   where a monitoring file says so

Source: TensorFlow Serving, g3doc/api_rest.md; codes as its http_server.cc maps them.
"""

import contextlib
import http.server
import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import grpc

from radkit.errors import UserError
from serving import (
    answering,
    audit,
    configs_text,
    connections,
    counters,
    encryption,
    examples,
    messages,
    models,
    patience,
    refusals,
    rest_bodies,
    rest_json,
    service,
)
from serving.refusals import Refusal

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>:predict|:classify|:regress|/metadata)?"
)
_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_LAST_VERSION = 2**63 - 1  # a ModelSpec has 64 bits for it
_METHODS = {":predict": "Predict", ":classify": "Classify", ":regress": "Regress", "/metadata": "GetModelMetadata"}


@dataclass(frozen=True)
class Door:
    """Where and how clients come in.

    Attributes:
        host: Address to listen on.
        port: 0 takes a free one.
        threads: Connections at a time. For one more the one that is idle longest is ended; where none is, it is told to
            come back. From half of them on, slow ones are let go.
        timeout_s: Of an answer, and of a client that sends or takes nothing.
        max_body_bytes: The largest request.
        tls: Keys; None does not encrypt.
        monitoring: Path of the figures; None shows none.
        cross_origin: Whether pages of other sites may ask.
    """

    host: str
    port: int
    threads: int = 16
    timeout_s: float = 30.0
    max_body_bytes: int = 1 << 30
    tls: configs_text.Tls | None = None
    monitoring: str | None = None
    cross_origin: bool = False


class Server(http.server.ThreadingHTTPServer):
    """Listens, with a bound on the connections; `shutdown` and `server_close` end it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answers: service.Service, door: Door) -> None:
        self.answers, self.door = answers, door
        self.patience = patience.Patience(door.threads // 2)
        self.connections = connections.Connections(door.threads)
        self.ending = False
        self._context = encryption.context(door.tls) if door.tls else None
        host = door.host.strip("[]")
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, door.port), _Handler)
        except OSError as error:
            raise UserError(
                f"{door.host}:{door.port} cannot be had: {error.strerror}; name another --rest_api_port"
            ) from error
        threading.Thread(target=self.serve_forever, name="rest", daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers a connection in a thread of its own, or tells that there are too many."""
        if not self.connections.enter():
            words = b'{"error": "too many connections; ask again later"}'
            head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Length: {len(words)}\r\nConnection: close\r\n\r\n"
            try:
                request.settimeout(0.1)
                if self._context is None:
                    request.sendall(head.encode() + words)
            except OSError:
                pass  # it went away
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def drain(self, timeout_s: float) -> None:
        """Takes no new connections, and waits for the requests under way."""
        self.ending = True
        self.shutdown()
        self.connections.drain(timeout_s)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a connection until its client ends it."""
        try:
            request.settimeout(self.door.timeout_s)
            if self._context is not None:  # shaking hands takes as long as the client likes, so not before now
                request = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
                with self.connections.idle(request):
                    request.do_handshake()
            super().process_request_thread(request, client_address)
        except (OSError, ValueError):
            self.shutdown_request(request)  # no handshake: no client of ours
        finally:
            self.connections.leave()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes in the middle of an answer is no failure, and its address goes into no log."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "radkit", ""
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True
    server: Server

    def handle_one_request(self) -> None:
        """Answers a request; while it comes and the answer goes, the client's slowness is its own."""
        try:
            with self.server.connections.idle(self.connection):
                self.rfile.peek(1)  # type: ignore[attr-defined]
        except OSError:  # nothing came for too long
            self.close_connection = True
            return
        with contextlib.ExitStack() as self._slow:
            self._with_client()
            super().handle_one_request()

    def _with_client(self) -> None:
        connection = self.connection
        self._slow.enter_context(self.server.patience.with_client(lambda: connections.cut(connection)))

    def do_GET(self) -> None:
        """Answers states, metadata and figures."""
        if not self._read_over():
            return
        path, answers = self._path(), self.server.answers
        if path == self.server.door.monitoring and answers.figures is not None:
            self._send(200, answers.figures.page().encode(), counters.CONTENT_TYPE)
            return
        self._answer(b"")

    def do_HEAD(self) -> None:
        """Answers as GET does, without the words: load balancers ask so."""
        self.do_GET()

    def do_POST(self) -> None:
        """Answers predict, classify and regress."""
        body = self._body()
        if body is not None:
            self._answer(body)

    def do_OPTIONS(self) -> None:
        """Tells pages of other sites what they may ask."""
        if self._read_over():
            self._send(200 if self.server.door.cross_origin else 405, b"", "text/plain")

    def handle_expect_100(self) -> bool:
        """Tells a client that asks first that its body may come; it waits for that."""
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing: what a client asks for may name a patient."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Tells what HTTP itself refuses as JSON, without the request's own words."""
        self.close_connection = True
        self.request_version = self.protocol_version  # of what is no HTTP none is known, and the answer is in ours
        self._send(code, _error(HTTPStatus(code).phrase), "application/json")

    def _path(self) -> str:
        """Returns what is asked for; the server's own address may stand before it (RFC 9112, section 3.2.2)."""
        return re.sub(r"^https?://[^/?]*", "", self.path, flags=re.IGNORECASE).partition("?")[0]

    def _read_over(self) -> bool:
        """Reads a body that says nothing here: left unread it would be taken for the next request."""
        told = set(self.headers.get_all("Content-Length", ["0"]))
        has_one = "Transfer-Encoding" in self.headers or told != {"0"}
        return not has_one or self._body() is not None

    def _body(self) -> bytes | None:
        """Returns the request's body; None after an answer that there is none to be had."""
        try:
            body = rest_bodies.read(self.headers, self.rfile, self.server.door.max_body_bytes)
        except rest_bodies.NoBody as refusal:
            self.close_connection = True
            self._send(refusal.code, _error(str(refusal)), "application/json")
            self.wfile.flush()
            rest_bodies.discard(self.rfile, refusal.left)
            return None
        self.close_connection = self.close_connection or body is None
        return body

    def _answer(self, body: bytes) -> None:
        answers, path = self.server.answers, self._path()
        found = _PATH.fullmatch(path)
        if not found or (self.command == "POST") != (found["verb"] or "/").startswith(":"):
            code = 400 if path.startswith("/v1/") else 404
            self._send(code, _error("Malformed request: no such method and path"), "application/json")
            return
        told = audit.Told(_METHODS.get(found["verb"], "GetModelStatus"), "REST", timeout_s=self.server.door.timeout_s)
        if answers.log is not None:
            told.request_id = audit.request_id(self.headers.get(audit.REQUEST_ID, ""))
        self._slow.close()
        with self.server.connections.answering():
            try:
                code, reply = 200, answers.call(lambda data, told: _reply(answers, found, data, told), body, told)
            except Refusal as refusal:
                code, reply = _STATUS.get(refusal.code, 500), _error(str(refusal))
            self._with_client()
            self.close_connection = self.close_connection or self.server.ending
            self._send(code, reply, "application/json", told.request_id)
            self.wfile.flush()

    def _send(self, code: int, body: bytes, kind: str, request_id: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if request_id:
            self.send_header(audit.REQUEST_ID, request_id)
        if self.close_connection:
            self.send_header("Connection", "close")
        if self.server.door.cross_origin:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            self.send_header("Access-Control-Allow-Headers", "content-type")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(words: str) -> bytes:
    return json.dumps({"error": words}).encode()


def _reply(answers: service.Service, found: re.Match[str], body: bytes, told: audit.Told) -> bytes:
    spec = messages.of("tensorflow.serving.ModelSpec")(name=urllib.parse.unquote(found["name"]))
    if found["version"]:
        digits = found["version"].lstrip("0") or "0"
        if len(digits) > 19 or int(digits) > _LAST_VERSION:
            refusals.invalid(f"no version has a number beyond {_LAST_VERSION}")
        spec.version.value = int(digits)
    if found["label"]:
        spec.version_label = urllib.parse.unquote(found["label"])
    verb = found["verb"]
    if verb is None:
        return _json(_states(answers.states(spec, told)))
    if verb == "/metadata":
        with answers.asked(spec, told) as asked:
            return _json(_metadata(asked))
    request = _parsed(body)
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        refusals.invalid("'signature_name' must be a text")
    reply: Callable[..., Any] = {":predict": _predict, ":classify": _classify, ":regress": _regress}[verb]
    with answers.asked(spec, told) as asked:
        return _json(reply(asked, name, request))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        refusals.invalid(f"JSON Parse error: the body is no JSON that can be read{place}")
    if not isinstance(request, dict):
        refusals.invalid("the body must be a JSON object")
    return request


def _predict(asked: answering.Asked, name: str, request: dict[str, Any]) -> Any:
    try:
        signature = asked.model.signature(name)
    except models.UnknownSignature as error:
        refusals.unfit(str(error))
    inputs, by_row = rest_json.arrays(request, signature.inputs)
    return rest_json.answer(asked.outputs(name, inputs), by_row)


def _classify(asked: answering.Asked, name: str, request: dict[str, Any]) -> Any:
    result = messages.ClassificationResponse().result
    examples.classified(asked.model.signatures, name, rest_json.examples(request), asked.outputs, result)
    return {"results": [[[one.label, one.score] for one in row.classes] for row in result.classifications]}


def _regress(asked: answering.Asked, name: str, request: dict[str, Any]) -> Any:
    result = messages.RegressionResponse().result
    examples.regressed(asked.model.signatures, name, rest_json.examples(request), asked.outputs, result)
    return {"results": [one.value for one in result.regressions]}


def _states(answer: Any) -> dict[str, Any]:
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    return {
        "model_version_status": [
            {
                "version": str(one.version),
                "state": messages.VERSION_STATES[one.state],
                "status": {
                    "error_code": codes[one.status.error_code],
                    "error_message": one.status.error_message,
                },
            }
            for one in answer.model_version_status
        ]
    }


def _metadata(asked: answering.Asked) -> dict[str, Any]:
    signatures = {
        name: {
            "inputs": {key: _info(info) for key, info in sorted(one.inputs.items())},
            "outputs": {key: _info(info) for key, info in sorted(one.outputs.items())},
            "method_name": one.method_name,
        }
        for name, one in sorted(asked.model.definitions.signature_def.items())
    }
    return {
        "model_spec": {"name": asked.name, "signature_name": "", "version": str(asked.model.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _info(info: Any) -> dict[str, Any]:
    shape = info.tensor_shape
    return {
        "dtype": messages.DATA_TYPES.get(info.dtype, "DT_INVALID"),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
        "name": info.name,
    }


def _json(told: Any) -> bytes:
    return json.dumps(told).encode()
