"""How the client calls: again when that is worth it, encrypted, several at once, and light to load."""

import datetime
import ipaddress
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from radkit.errors import UserError
from serving import channels, client, codec, messages

X = np.float32([1.0, 2.0])
Answer = Callable[[bytes, grpc.ServicerContext], bytes]


def doubled(request: bytes, _: grpc.ServicerContext) -> bytes:
    return codec.response(messages.PredictResponse(), {"y": 2 * codec.inputs_of(request)[0]["x"]})


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Gives a function that starts a server which answers every Predict as it is told, and returns its address."""
    started: list[Any] = []

    def start(answer: Answer, credentials: Any = None) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {"Predict": grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.PREDICTION_SERVICE, handlers)])
        place = "127.0.0.1:0"
        port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
        server.start()
        started.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in started:
        server.stop(None).wait()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(client.time, "sleep", found.append)
    return found


def test_a_busy_server_is_asked_again_after_growing_waits(serve: Callable[..., str], waits: list[float]) -> None:
    refusals = iter([True] * 3)

    def busy(request: bytes, context: grpc.ServicerContext) -> bytes:
        if next(refusals, False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        return doubled(request, context)

    with client.Client(serve(busy)) as made:
        assert made.predict("m", {"x": X})["y"].tolist() == [2.0, 4.0]
    assert len(waits) == 3
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, channels.BUSY_BACKOFF_S))


def test_a_server_that_stays_busy_refuses_in_the_end(serve: Callable[..., str], waits: list[float]) -> None:
    def busy(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        raise AssertionError("abort raises")

    with client.Client(serve(busy)) as made, pytest.raises(client.Refused, match="the queue is full"):
        made.predict("m", {"x": X})
    assert len(waits) == len(channels.BUSY_BACKOFF_S)


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "FAILED_PRECONDITION"])
def test_what_no_second_attempt_mends_is_not_tried_again(
    code: str, serve: Callable[..., str], waits: list[float]
) -> None:
    def refusing(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode[code], "no")
        raise AssertionError("abort raises")

    with client.Client(serve(refusing)) as made, pytest.raises(client.Refused, match=code):
        made.predict("m", {"x": X})
    assert waits == []


def test_an_answer_that_is_none_is_refused(serve: Callable[..., str]) -> None:
    address = serve(lambda request, context: b"\xff\xff")
    with client.Client(address) as made, pytest.raises(client.Refused, match="cannot be read"):
        made.predict("m", {"x": X})


def test_many_requests_are_under_way_at_once_and_no_more_than_asked_for(serve: Callable[..., str]) -> None:
    together, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(3, timeout=30)

    def slow(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal together, most
        with lock:
            together, most = together + 1, max(most, together + 1)
        full.wait()  # none goes on before three are here
        with lock:
            together -= 1
        return doubled(request, context)

    held: set[int] = set()

    def requests() -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number in range(9):
            held.add(number)
            assert len(held) <= 3
            yield number, {"x": np.float32([number])}

    found = {}
    with client.Client(serve(slow)) as made:
        for number, outputs in made.stream("m", requests(), in_flight=3):
            assert isinstance(outputs, dict)
            held.remove(number)
            found[number] = outputs["y"].item()
    assert most == 3
    assert found == {number: 2.0 * number for number in range(9)}


def test_a_refused_request_of_many_is_told_and_the_others_go_on(serve: Callable[..., str]) -> None:
    def picky(request: bytes, context: grpc.ServicerContext) -> bytes:
        if codec.inputs_of(request)[0]["x"][0] == 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
        return doubled(request, context)

    given = [(0, {"x": X - 1}), (1, {"x": X}), (2, {"x": np.array(["2020"], "M8[Y]")}), (3, {"x": 3 * X})]
    with client.Client(serve(picky)) as made:
        found = dict(made.stream("m", given))
    assert sorted(found) == [0, 1, 2, 3]
    assert [str(found[n]) for n in (1, 2) if isinstance(found[n], client.Refused)] == [
        "model 'm' refused (INVALID_ARGUMENT): not this one",
        str(found[2]),
    ]
    assert "cannot be sent" in str(found[2])


def test_a_server_that_dies_ends_the_stream_with_what_was_answered_before(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "BACKOFF_S", (0.01,))

    def dying(request: bytes, context: grpc.ServicerContext) -> bytes:
        if codec.inputs_of(request)[0]["x"][0] >= 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        return doubled(request, context)

    with client.Client(serve(dying)) as made:
        stream = made.stream("m", ((n, {"x": np.float32([n])}) for n in range(9)), in_flight=1)
        assert [next(stream)[0] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(client.Gone, match="going down"):
            next(stream)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes an authority, ca.pem, and papers of a server (127.0.0.1, archive.example) and of a client."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as coding
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("papers")
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    by = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    for name in ("ca", "server", "client"):
        key = by if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        subject = issuer if name == "ca" else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("archive.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder(
                issuer, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
            )
            .add_extension(x509.BasicConstraints(name == "ca", None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(by, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(coding.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(coding.Encoding.PEM, coding.PrivateFormat.PKCS8, coding.NoEncryption())
        )
    return folder


def credentials(papers: Path, mutual: bool) -> Any:
    pair = ((papers / "server.key").read_bytes(), (papers / "server.pem").read_bytes())
    return grpc.ssl_server_credentials([pair], (papers / "ca.pem").read_bytes() if mutual else None, mutual)


@pytest.mark.parametrize("mutual", [False, True])
def test_an_encrypted_server_answers_whom_it_knows(
    mutual: bool, papers: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "BACKOFF_S", ())
    address = serve(doubled, credentials(papers, mutual))
    own = {"certificate": papers / "client.pem", "key": papers / "client.key"}
    for tls in (
        client.Tls(papers / "ca.pem", **own),
        client.Tls(papers / "ca.pem", **own, server_name="archive.example"),
    ):
        with client.Client(address, tls=tls) as made:
            assert made.predict("m", {"x": X})["y"].tolist() == [2.0, 4.0]
    strangers = [None, client.Tls(), client.Tls(papers / "ca.pem", server_name="other.example")]
    for stranger in [*strangers, *([client.Tls(papers / "ca.pem")] if mutual else [])]:
        unknown = client.Client(address, timeout_s=20, tls=stranger)
        with unknown as made, pytest.raises(client.Gone, match="no server answers"):
            made.predict("m", {"x": X})


def test_papers_that_are_none_are_told_before_anything_is_sent(papers: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for tls, words in (
        (client.Tls(tmp_path / "none"), "cannot be read"),
        (client.Tls(tmp_path / "text"), "no PEM file"),
        (client.Tls(certificate=papers / "client.pem"), "go together"),
    ):
        with pytest.raises(UserError, match=words):
            client.Client("127.0.0.1:1", tls=tls)


def test_the_client_is_loaded_within_80_mib() -> None:
    # VmHWM is of this program alone; what getrusage tells has the program's that started it.
    code = (
        "import serving.client; "
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    if not Path("/proc/self/status").is_file():
        pytest.skip("the peak of memory is read from /proc, which this system has not")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 80 * 1024


def test_streaming_asks_for_one_call_at_least() -> None:
    with client.Client("127.0.0.1:1") as made, pytest.raises(UserError, match="at least 1"):
        next(made.stream("m", [], in_flight=0))


def test_waits_are_told_apart_by_chance() -> None:
    found = {channels.jittered(1.0) for _ in range(20)}
    assert len(found) > 10
    assert 0.5 <= min(found) <= max(found) <= 1.0
