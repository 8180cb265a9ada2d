"""grpc.reflection: which services, methods and messages there are, for grpcurl and its like.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

from serving import messages, service
from serving.refusals import Refusal

_NOT_FOUND, _UNIMPLEMENTED = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]
# A stream holds its thread while it lasts, so these have threads of their own.
THREADS = 4


def handlers(package: str) -> dict[str, grpc.RpcMethodHandler]:
    """Returns the one method of the service in a package, `grpc.reflection.v1` or `.v1alpha`."""
    asked, answers = (messages.of(f"{package}.ServerReflection{name}") for name in ("Request", "Response"))

    def info(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for data in requests:
            try:
                request = service.parsed(asked, data)
            except Refusal as refusal:
                context.abort(refusal.code, str(refusal))
            yield _answer(request, answers()).SerializeToString()

    info.experimental_thread_pool = futures.ThreadPoolExecutor(THREADS, "reflection")  # type: ignore[attr-defined]
    return {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(info)}


def _answer(request: Any, reply: Any) -> Any:
    reply.valid_host = request.host
    reply.original_request.CopyFrom(request)
    kind = request.WhichOneof("message_request")
    if kind == "list_services":
        for name in sorted(f"{file.package}.{one.name}" for file in messages.files().values() for one in file.service):
            reply.list_services_response.service.add(name=name)
    elif kind in ("file_by_filename", "file_containing_symbol"):
        _files(getattr(request, kind), kind == "file_by_filename", reply)
    else:
        reply.error_response.error_code = _UNIMPLEMENTED
        reply.error_response.error_message = "there are no extensions here"
    return reply


def _files(wanted: str, by_name: bool, reply: Any) -> None:
    """Answers a file and all that it needs."""
    files = {file.name: file for file in messages.files().values()}
    found = files.get(wanted) if by_name else _holder(wanted)
    if found is None:
        reply.error_response.error_code = _NOT_FOUND
        reply.error_response.error_message = f"{wanted[:99]!r} is not known here"
        return
    for file in (found, *(files[name] for name in found.dependency)):
        reply.file_descriptor_response.file_descriptor_proto.append(file.SerializeToString())


def _holder(symbol: str) -> Any:
    """Returns the file in which a message, service or method stands."""
    for file in messages.files().values():
        inner = symbol.removeprefix(f"{file.package}.")
        if inner == symbol:
            continue
        names = {one.name for one in (*file.message_type, *file.enum_type)}
        names |= {one.name for one in file.service}
        names |= {f"{one.name}.{method.name}" for one in file.service for method in one.method}
        names |= {f"{one.name}.{nested.name}" for one in file.message_type for nested in one.nested_type}
        if inner in names:
            return file
    return None
