"""grpc.health.v1: whether the server answers, asked once (Check) or told at each change (Watch).

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

import threading
from collections.abc import Callable
from typing import Any

import grpc

from serving import messages, refusals, service
from serving.refusals import Refusal

KNOWN = ("", messages.PREDICTION_SERVICE, messages.MODEL_SERVICE)
# Each watcher holds a stream open for as long as it likes.
MOST_WATCHERS = 64


class Health:
    """Serving while `ready` says so; the empty service is the whole server.

    Args:
        ready: Whether every model has a version that answers.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready, self._lock = ready, threading.Lock()
        self._ending = False
        self._watchers: dict[Callable[[bytes | None], None], tuple[str, int]] = {}

    def check(self, request: bytes) -> bytes:
        """Answers a HealthCheckRequest.

        Raises:
            Refusal: NOT_FOUND for a service that is not here.
        """
        asked = service.parsed(messages.HealthCheckRequest, request).service
        if asked not in KNOWN:
            refusals.missing(f"no service {asked[:99]} here")
        return _reply(self._status(asked))

    def watch(self, request: bytes, context: Any, send: Callable[[bytes | None], None]) -> None:
        """Sends the status now and at each change; no thread waits meanwhile."""
        try:
            asked = service.parsed(messages.HealthCheckRequest, request).service
            with self._lock:
                if len(self._watchers) >= MOST_WATCHERS:
                    refusals.full(f"{MOST_WATCHERS} watch already; use Check")
                status, ending = self._status(asked), self._ending
                if not ending:
                    self._watchers[send] = (asked, status)
        except Refusal as refusal:
            context.set_code(refusal.code)
            context.set_details(str(refusal))
            send(None)
            return
        if not context.add_callback(lambda: self._forget(send)):
            self._forget(send)
        send(_reply(status))
        if ending:
            send(None)

    def changed(self, ending: bool = False) -> None:
        """Tells the watchers what is new; from `ending` on, nothing is served, and nobody watches on."""
        with self._lock:
            self._ending = self._ending or ending
            told = [(send, asked, self._status(asked)) for send, (asked, _) in self._watchers.items()]
            told = [(send, asked, status) for send, asked, status in told if self._watchers[send][1] != status]
            for send, asked, status in told:
                self._watchers[send] = (asked, status)
            ended = list(self._watchers) if self._ending else []
        for send, _, status in told:
            send(_reply(status))
        for send in ended:  # a stream left open would hold up the server's end
            self._forget(send)
            send(None)

    def _status(self, asked: str) -> int:
        if asked not in KNOWN:
            return messages.SERVICE_UNKNOWN
        return messages.SERVING if self._ready() and not self._ending else messages.NOT_SERVING

    def _forget(self, send: Callable[[bytes | None], None]) -> None:
        with self._lock:
            self._watchers.pop(send, None)


def _reply(status: int) -> bytes:
    data: bytes = messages.HealthCheckResponse(status=status).SerializeToString()
    return data


def handlers(health: Health) -> dict[str, grpc.RpcMethodHandler]:
    """Returns the service's methods."""

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return health.check(request)
        except Refusal as refusal:
            context.abort(refusal.code, str(refusal))
            raise AssertionError("abort raises") from refusal

    def watch(request: bytes, context: Any, send_response_callback: Callable[[bytes | None], None]) -> None:
        health.watch(request, context, send_response_callback)

    watch.experimental_non_blocking = True  # type: ignore[attr-defined]
    return {
        "Check": grpc.unary_unary_rpc_method_handler(check),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
