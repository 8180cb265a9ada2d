"""The gRPC side of the server: sockets, threads, limits, deadlines, TLS; what is answered stands in `service`."""

import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass

import grpc

from radkit.errors import UserError
from serving import audit, configs_text, encryption, health, message_table, messages, patience, reflection, service
from serving.refusals import Refusal

# A deadline further away than this is none: gRPC gives the end of time to calls that have no deadline.
_NEVER_S = 1e8
# Threads beside those that answer or wait: for health, and for clients that send slowly.
SPARE_THREADS = 96


@dataclass(frozen=True)
class Door:
    """Where and how clients come in.

    Attributes:
        host: Address to listen on.
        port: 0 takes a free one.
        threads: Calls that may be read, wait or be answered at a time; beyond twice as many they are refused.
            Of those that come in slowly half as many are borne with.
        max_message_bytes: The largest request.
        tls: Keys; None does not encrypt.
        socket: Path of a socket to listen on, too; empty for none.
        arguments: gRPC's own channel arguments.
    """

    host: str
    port: int
    threads: int
    max_message_bytes: int
    tls: configs_text.Tls | None = None
    socket: str = ""
    arguments: Mapping[str, int | str] | None = None


def start(answers: service.Service, state: health.Health, door: Door) -> tuple[grpc.Server, int]:
    """Starts a server and returns it with the port it listens on.

    Raises:
        UserError: The address cannot be had, or the keys are none.
    """
    options: dict[str, int | str] = {
        "grpc.max_receive_message_length": door.max_message_bytes,
        "grpc.max_send_message_length": -1,
        # Without this a second server on the same port starts, and clients reach either of them.
        "grpc.so_reuseport": 0,
        # A client that is gone without a word gives its stream back.
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        **(door.arguments or {}),
    }
    server = grpc.server(
        futures.ThreadPoolExecutor(door.threads, thread_name_prefix="serving"),
        handlers=handlers(answers, state, door.threads // 2),
        options=list(options.items()),
        maximum_concurrent_rpcs=2 * door.threads + health.MOST_WATCHERS,
    )
    if door.tls is not None:
        encryption.context(door.tls)  # gRPC would not tell keys that are none from an address in use
    where = address(door.host, door.port)
    bound = _listen(server, where, door.tls)
    if not bound:
        raise UserError(f"{where} cannot be had: in use, or no address of this machine; name another --port")
    if door.socket and _is_taken(door.socket):  # gRPC would take it away from who listens there
        raise UserError(f"--grpc_socket_path {door.socket} is in use; name another, or end the server that has it")
    if door.socket and not _listen(server, f"unix:{door.socket}", door.tls):
        raise UserError(f"--grpc_socket_path {door.socket} cannot be had; name a path that can be written")
    server.start()
    return server, bound


def address(host: str, port: int) -> str:
    """Returns a host and its port as one text.

    >>> address("127.0.0.1", 8500), address("::1", 8500)
    ('127.0.0.1:8500', '[::1]:8500')
    """
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _is_taken(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(path)
        except OSError:  # nothing there, or what a server that was killed has left
            return False
    return True


def _listen(server: grpc.Server, address: str, tls: configs_text.Tls | None) -> int:
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        keys = grpc.ssl_server_credentials(
            [(tls.key, tls.certificate)], tls.client_ca, require_client_auth=tls.client_ca is not None
        )
        return int(server.add_secure_port(address, keys))
    except RuntimeError:
        return 0


def handlers(answers: service.Service, state: health.Health, most_slow: int) -> list[grpc.GenericRpcHandler]:
    """Returns what a grpc server registers.

    Requests are taken as bytes and decoded in `service`, since gRPC's own decoding would answer a broken message with
    INTERNAL instead of INVALID_ARGUMENT. They are read as a stream of one, so that one that never gets whole can be
    given up.
    """
    slow = patience.Patience(most_slow)
    groups: dict[str, dict[str, grpc.RpcMethodHandler]] = {
        name: {method: grpc.stream_unary_rpc_method_handler(_guarded(answers, method, slow)) for method in methods}
        for name, methods in message_table.SERVICES.items()
        if name in (messages.PREDICTION_SERVICE, messages.MODEL_SERVICE)
    }
    groups[messages.HEALTH_SERVICE] = health.handlers(state)
    for name in messages.REFLECTION_SERVICES:
        groups[name] = reflection.handlers(name.rpartition(".")[0])
    return [grpc.method_handlers_generic_handler(name, group) for name, group in groups.items()]


def _guarded(
    answers: service.Service, name: str, slow: patience.Patience
) -> Callable[[Iterator[bytes], grpc.ServicerContext], bytes]:
    method = answers.methods[name]

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with slow.with_client(context.cancel):
            request = next(requests, None)
        if request is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call came without a request")
            raise AssertionError("abort raises")
        if not context.is_active():  # the client gave up while the call waited for a thread
            context.abort(grpc.StatusCode.CANCELLED, "the call was given up before it began")
        left_s = context.time_remaining()
        timeout_s = left_s if left_s is not None and left_s < _NEVER_S else None
        told = audit.Told(name, "GRPC", timeout_s=timeout_s, is_wanted=context.is_active)
        if answers.log is not None:
            given = dict(context.invocation_metadata()).get(audit.REQUEST_ID, "")
            told.request_id = audit.request_id(given if isinstance(given, str) else "")
            context.set_trailing_metadata(((audit.REQUEST_ID, told.request_id),))
        try:
            return answers.call(method, request, told)
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
            raise AssertionError("abort raises") from refusal

    return call
