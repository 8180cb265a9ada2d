"""TLS on both doors: who is let in, and keys that are none."""

import http.client
import json
import socket
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest

from radkit.errors import UserError
from serving import configs_text, endpoints, health, registry, rest, service
from serving.configs_text import Wanted
from tests.serving import running
from tests.serving.running import request

CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m")
    running.save(folder / "1", 2.0)
    return folder


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes keys and certificates of an authority, a server and a client."""
    folder = tmp_path_factory.mktemp("papers")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    signs = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 wants it of who signs
    made = ("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    _openssl(folder, "req", "-x509", *ec, *signs, *made)
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        _openssl(folder, "req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *by)
    return folder


@pytest.mark.parametrize("mutual", [False, True])
def test_channels_are_encrypted_and_clients_known(base: Path, papers: Path, tmp_path: Path, mutual: bool) -> None:
    text = {name: (papers / name).read_text() for name in ("server.key", "server.pem", "ca.pem")}
    lines = [("server_key", "server.key"), ("server_cert", "server.pem"), ("custom_ca", "ca.pem")]
    body = "\n".join(f"{field}: {json.dumps(text[name])}" for field, name in lines)
    (tmp_path / "ssl").write_text(f"{body}\nclient_verify: {str(mutual).lower()}\n")
    authority = (papers / "ca.pem").read_bytes()
    known = (papers / "client.key").read_bytes(), (papers / "client.pem").read_bytes()
    with running.running([Wanted("m", base)], tls=configs_text.tls_file(tmp_path / "ssl")) as server:
        keys = {True: grpc.ssl_channel_credentials(authority, *known), False: grpc.ssl_channel_credentials(authority)}
        for shows, credentials in keys.items():
            with grpc.secure_channel(server.address, credentials, running.NO_PROXY) as channel:
                call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                if shows or not mutual:
                    assert call(request().SerializeToString(), timeout=60)
                    continue
                with pytest.raises(grpc.RpcError) as caught:
                    call(request().SerializeToString(), timeout=20)
                assert caught.value.code() == CODE.UNAVAILABLE
        with pytest.raises(grpc.RpcError):
            server.stub.Predict(request(), timeout=20)  # in the clear
        context = ssl.create_default_context(cadata=authority.decode())
        context.load_cert_chain(papers / "client.pem", papers / "client.key")
        # Who does not even shake hands leaves room for others.
        host, port = server.web.split(":")
        silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(20)]
        made = http.client.HTTPSConnection(server.web, timeout=30, context=context)
        made.request("GET", "/v1/models/m")
        assert made.getresponse().status == 200
        made.close()
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('server_key: "a"', "server_cert"),
        ('server_key: "a" server_cert: "b" client_verify: true', "custom_ca"),
        ('server_key: "secret" nonsense', "line 1"),
    ],
)
def test_keys_that_are_missing_are_told_without_the_others(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "ssl").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        configs_text.tls_file(tmp_path / "ssl")
    assert "secret" not in str(caught.value)


def test_keys_that_do_not_fit_are_told_by_both_doors(papers: Path) -> None:
    key, certificate = (papers / "client.key").read_bytes(), (papers / "server.pem").read_bytes()
    answers = service.Service(registry.Registry(registry.Loading(lambda *where: pytest.fail("nothing is loaded"))))
    for tls in (configs_text.Tls(b"a", b"b", None), configs_text.Tls(key, certificate, None)):
        with pytest.raises(UserError, match="cannot be read, or do not fit together"):
            endpoints.start(answers, health.Health(lambda: True), endpoints.Door("127.0.0.1", 0, 4, 1 << 20, tls))
        with pytest.raises(UserError, match="cannot be read, or do not fit together"):
            rest.Server(answers, rest.Door("127.0.0.1", 0, tls=tls))
