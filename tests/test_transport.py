"""What goes wrong between client and server comes out as one of three errors, without the key."""

from __future__ import annotations

import gc
import gzip
import pickle
import shutil
import ssl
import subprocess
import time
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import httpx
import pytest
import respx
from anyio.streams.tls import TLSListener

from kling_async import (
    AnswerLost,
    AuthenticationError,
    BadEnvelope,
    ConfigurationError,
    ConnectFailed,
    Kling,
    KlingAI,
    KlingError,
    Timeouts,
)
from kling_async._exchange import Call
from kling_async._transport import Transport
from kling_async.emulator import Emulator
from tests.tls_host import ANSWER, Conversation, TLSHost

KEY = "a-secret-key-0123456789"
TASK = b'{"code": 0, "data": {"task_id": "7", "task_status": "submitted"}}'
HTTP_TASK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(TASK), TASK)
MEGABYTE = bytes(1024 * 1024)
# httpx reads through nested generators, which trio does not like to see left half-way.
half_read = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
Serve = Callable[[anyio.abc.ByteStream], Awaitable[None]]


def client(handler: Handler, *, timeouts: Timeouts | None = None, most: int = 20) -> Kling:
    transport = httpx.MockTransport(handler)
    return Kling(KlingAI(KEY), transport=transport, timeouts=timeouts, max_connections=most)


def answers(response: httpx.Response) -> Kling:
    async def handler(request: httpx.Request) -> httpx.Response:
        return response

    return client(handler)


def fails(error: Exception) -> Kling:
    async def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return client(handler)


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a port of its own that gives every connection to *serve*."""

    async def tolerant(stream: anyio.abc.ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                await serve(stream)

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = tcp.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(tcp, tls) if tls is not None else tcp
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, tolerant)
        yield port
        group.cancel_scope.cancel()


async def read_head(stream: anyio.abc.ByteStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    return head


async def give(answer: bytes, stream: anyio.abc.ByteStream) -> None:
    await read_head(stream)
    await stream.send(answer)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectTimeout(""),
        httpx.ProxyError("407 Proxy Authentication Required"),
    ],
    ids=["refused", "dns", "timeout", "proxy"],
)
async def test_no_connection_is_connect_failed(error: Exception, respx_mock: respx.Router) -> None:
    respx_mock.get(url__regex=".*").mock(side_effect=error)
    async with Kling(KlingAI(KEY)) as kling:
        with pytest.raises(ConnectFailed) as caught:
            await kling.text2video.get("7")

    assert "api-singapore.klingai.com" in str(caught.value)
    assert "region" in str(caught.value)
    assert caught.value.provider == "klingai"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError("broken pipe"),
        httpx.WriteTimeout(""),
        httpx.CloseError(""),
        httpx.RemoteProtocolError("peer closed connection"),
        ssl.SSLError("decryption failed"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_break_after_sending_is_answer_lost(
    error: Exception, respx_mock: respx.Router
) -> None:
    respx_mock.get(url__regex=".*").mock(side_effect=error)
    async with Kling(KlingAI(KEY)) as kling:
        with pytest.raises(AnswerLost, match=r"api-singapore\.klingai\.com") as caught:
            await kling.text2video.get("7")

    assert caught.value.__cause__ is error


@pytest.mark.real_time
async def test_closed_port_is_connect_failed() -> None:
    async with listening(partial(give, HTTP_TASK)) as port:
        pass
    async with Kling(KlingAI(KEY, base_url=f"http://127.0.0.1:{port}")) as kling:
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            await kling.text2video.get("7")


@pytest.mark.real_time
@pytest.mark.parametrize("answer", [b"", HTTP_TASK[:20], HTTP_TASK[:-5]])
async def test_hang_up_is_answer_lost(answer: bytes) -> None:
    async with (
        listening(partial(give, answer)) as port,
        Kling(KlingAI(KEY, base_url=f"http://127.0.0.1:{port}")) as kling,
    ):
        with pytest.raises(AnswerLost):
            await kling.text2video.get("7")


@pytest.mark.real_time
async def test_plain_text_behind_https_is_connect_failed() -> None:
    async with (
        listening(partial(give_at_once, b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port,
        Kling(KlingAI(KEY, base_url=f"https://127.0.0.1:{port}")) as kling,
    ):
        with pytest.raises(ConnectFailed):
            await kling.text2video.get("7")


async def give_at_once(answer: bytes, stream: anyio.abc.ByteStream) -> None:
    await stream.receive()
    await stream.send(answer)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces that counts how many were taken."""

    def __init__(self, pieces: list[bytes], *, pause: float = 0.0) -> None:
        self.pieces = pieces
        self.pause = pause
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
            await anyio.sleep(self.pause)


async def test_trickling_answer_ends_at_the_total() -> None:
    body = Pieces([b" "] * 1000, pause=7)
    async with answers(httpx.Response(200, stream=body)) as kling:
        with pytest.raises(AnswerLost, match="120 s"):
            await kling.text2video.get("7")

    assert anyio.current_time() == pytest.approx(120)


async def test_silent_server_ends_at_the_total() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with client(handler, timeouts=Timeouts(total=30)) as kling:
        with pytest.raises(AnswerLost, match="30 s"):
            await kling.text2video.get("7")

    assert anyio.current_time() == pytest.approx(30)


@half_read
async def test_huge_answer_is_not_read_to_its_end() -> None:
    body = Pieces([MEGABYTE] * 100)
    async with answers(httpx.Response(200, stream=body)) as kling:
        with pytest.raises(BadEnvelope, match="larger than"):
            await kling.text2video.get("7")

    assert body.taken == 17


@half_read
async def test_gzip_bomb_is_not_inflated_to_its_end() -> None:
    bomb = gzip.compress(MEGABYTE * 64)
    body = Pieces([bomb[at : at + 1024] for at in range(0, len(bomb), 1024)])
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=body)
    async with answers(response) as kling:
        with pytest.raises(BadEnvelope, match="larger than"):
            await kling.text2video.get("7")

    assert body.taken < len(body.pieces) / 3


@half_read
@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "deflate"])
async def test_encoding_that_nobody_asked_for_is_not_undone(encoding: str) -> None:
    body = Pieces([gzip.compress(gzip.compress(TASK))])
    response = httpx.Response(200, headers={"content-encoding": encoding}, stream=body)
    async with answers(response) as kling:
        with pytest.raises(BadEnvelope, match=f"'{encoding}'"):
            await kling.text2video.get("7")


@half_read
async def test_gzip_bomb_is_not_inflated_by_so_much_as_a_piece() -> None:
    bomb = gzip.compress(MEGABYTE * 256)
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Pieces([bomb]))
    async with answers(response) as kling:
        tracemalloc.start()
        try:
            with pytest.raises(BadEnvelope, match="larger than"):
                await kling.text2video.get("7")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert most < 64 * len(MEGABYTE)


async def test_compressed_answer_is_read() -> None:
    body = Pieces([gzip.compress(TASK)[:9], gzip.compress(TASK)[9:]])
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=body)
    async with answers(response) as kling:
        state = await kling.text2video.get("7")

    assert state.id == "7"


@half_read
async def test_broken_gzip_is_bad_envelope() -> None:
    body = Pieces([b"\x1f\x8b this is no gzip"])
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=body)
    async with answers(response) as kling:
        with pytest.raises(BadEnvelope, match="decompressed"):
            await kling.text2video.get("7")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_never_followed(status: int) -> None:
    asked: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, headers={"location": "https://elsewhere.test/"})

    async with client(handler) as kling:
        with pytest.raises(BadEnvelope, match=r"elsewhere\.test"):
            await kling.text2video.submit(prompt="A boat")

    assert asked == ["api-singapore.klingai.com"]


class Careless(KlingAI):
    """A user's own dialect, whose header cannot be sent."""

    def __init__(self, base_url: str, header: str) -> None:
        super().__init__("unused", base_url=base_url)
        self.header = header

    def authorization(self, now: float) -> str:
        return self.header


@pytest.mark.real_time
@pytest.mark.parametrize("ending", ["\n", "\N{SNOWMAN}"])
async def test_malformed_header_is_a_configuration_error(ending: str) -> None:
    async with listening(partial(give, HTTP_TASK)) as port:
        provider = Careless(f"http://127.0.0.1:{port}", KEY + ending)
        async with Kling(provider) as kling:
            with pytest.raises(ConfigurationError, match="header") as caught:
                await kling.text2video.submit(prompt="A boat")

    assert KEY not in everything(caught.value)


@pytest.mark.parametrize("url", ["http://[::1", "http://kling.test:99999", "ftp://kling.test"])
def test_malformed_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        KlingAI(KEY, base_url=url)


async def test_impossible_host_is_a_configuration_error() -> None:
    async with Kling(KlingAI(KEY, base_url="http://xn--.test")) as kling:
        with pytest.raises(ConfigurationError, match=r"xn--\.test"):
            await kling.text2video.submit(prompt="A boat")


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_exchanges_than_connections(most: int) -> None:
    busy = [0]

    async def handler(request: httpx.Request) -> httpx.Response:
        busy.append(busy[-1] + 1)
        await anyio.sleep(1)
        busy.append(busy[-1] - 1)
        return httpx.Response(200, content=TASK)

    async with client(handler, most=most) as kling, anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(kling.text2video.get, str(number))

    assert max(busy) == most
    assert len(busy) == 21


async def test_cancelled_waiter_frees_its_place() -> None:
    go = anyio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        await go.wait()
        return httpx.Response(200, content=TASK)

    async with client(handler, most=1) as kling, anyio.create_task_group() as group:
        for limit in (None, 1, 2):
            group.start_soon(get_within, kling, limit)
        await anyio.sleep(5)
        go.set()
        await kling.text2video.get("7")

    assert anyio.current_time() == pytest.approx(5)


async def get_within(kling: Kling, seconds: float | None) -> None:
    with anyio.move_on_after(seconds):
        await kling.text2video.get("7")


async def test_cancelled_exchange_frees_its_place() -> None:
    stall = [True]

    async def handler(request: httpx.Request) -> httpx.Response:
        if stall.pop() if stall else False:
            await anyio.sleep_forever()
        return httpx.Response(200, content=TASK)

    async with client(handler, most=1) as kling:
        await get_within(kling, 1)
        state = await kling.text2video.get("7")

    assert state.id == "7"


@pytest.mark.parametrize("number", [0, -1])
def test_client_without_connections_is_refused(number: int) -> None:
    with pytest.raises(ConfigurationError, match="max_connections"):
        Kling(KlingAI(KEY), max_connections=number)


@pytest.mark.real_time
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxy_of_the_environment_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def proxy(stream: anyio.abc.ByteStream) -> None:
        heads.append(await read_head(stream))
        await stream.send(HTTP_TASK)

    async with listening(proxy) as port:
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        async with Kling(KlingAI(KEY, base_url="http://kling.invalid")) as kling:
            await kling.text2video.get("7")

    assert heads[0].startswith(b"GET http://kling.invalid/v1/videos/text2video/7 ")


@pytest.mark.real_time
async def test_create_by_a_proxy_gets_its_own_answer(
    host: TLSHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says_more(conversation: Conversation) -> None:
        conversation.read()
        conversation.say(ANSWER + ANSWER.replace(b'"7"', b'"8"'))
        conversation.serve()

    host.scripts = [says_more, Conversation.serve, Conversation.serve]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{host.port}")
    transport = Transport(timeouts=Timeouts(), max_connections=3)
    await transport.send(Call("GET", "http://kling.invalid/v1"), {})
    for _ in range(2):
        answer = await transport.send(Call("POST", "http://kling.invalid/v1", {}), {})
        assert answer.content == TASK
    await transport.aclose()

    assert host.creates == 2


# The first loop is closed over a connection that nobody has closed, which is for asyncio to say.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.real_time
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_proxy_is_used_in_one_loop_after_another(
    host: TLSHost, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.scripts = [Conversation.serve, Conversation.serve]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{host.port}")
    transport = Transport(timeouts=Timeouts(), max_connections=3)

    async def ask() -> None:
        await transport.send(Call("GET", "http://kling.invalid/v1"), {})

    for _ in range(2):
        anyio.run(ask, backend=backend)
    anyio.run(transport.aclose, backend=backend)
    gc.collect()

    assert host.requests == ["GET http://kling.invalid/v1 HTTP/1.1"] * 2


@pytest.mark.real_time
async def test_proxy_that_refuses_is_connect_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def proxy(stream: anyio.abc.ByteStream) -> None:
        heads.append(await read_head(stream))
        await stream.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    async with listening(proxy) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        async with Kling(KlingAI(KEY, base_url="https://kling.invalid")) as kling:
            with pytest.raises(ConnectFailed, match="407"):
                await kling.text2video.get("7")

    assert KEY.encode() not in heads[0]


async def test_given_transport_passes_the_proxy_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with answers(httpx.Response(200, content=TASK)) as kling:
        state = await kling.text2video.get("7")

    assert state.id == "7"


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTPS_PROXY", "nonsense://proxy"), ("SSL_CERT_FILE", "/nowhere/ca.pem")],
)
def test_impossible_environment_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=name):
        Kling(KlingAI(KEY))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that no authority has signed, and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with the openssl command")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    wanted = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, *wanted.split(), *names, "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.mark.real_time
async def test_certificate_of_the_environment_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with listening(partial(give, HTTP_TASK), tls) as port:
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        async with Kling(KlingAI(KEY, base_url=f"https://127.0.0.1:{port}")) as kling:
            state = await kling.text2video.get("7")

    assert state.id == "7"


@pytest.mark.real_time
async def test_unknown_certificate_is_connect_failed(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with (
        listening(partial(give, HTTP_TASK), tls) as port,
        Kling(KlingAI(KEY, base_url=f"https://127.0.0.1:{port}")) as kling,
    ):
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await kling.text2video.get("7")


@pytest.mark.real_time
async def test_connection_outlives_the_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[None] = []

    async def serve(stream: anyio.abc.ByteStream) -> None:
        connections.append(None)
        for _ in range(2):
            await give(HTTP_TASK, stream)
        await anyio.sleep_forever()

    real, later = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + later[0])
    async with (
        listening(serve) as port,
        Kling(KlingAI(KEY, base_url=f"http://127.0.0.1:{port}")) as kling,
    ):
        for _ in range(2):
            await kling.text2video.get("7")
            later[0] += 10

    assert len(connections) == 1


@pytest.mark.parametrize("call", ["get", "submit", "wait"])
async def test_strange_exception_comes_out_bare(call: str) -> None:
    async with fails(RuntimeError("strange")) as kling:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "get": lambda: kling.text2video.get("7"),
            "submit": lambda: kling.text2video.submit(prompt="A boat"),
            "wait": lambda: kling.task("klingai/text2video/7").result(),
        }
        with pytest.raises(RuntimeError, match="strange"):
            await calls[call]()


def everything(error: BaseException | None) -> str:
    """All that an error and its causes show anywhere."""
    shown = ""
    while error is not None:
        shown += f"{error!r} {error} {error.args!r} {vars(error)!r}"
        if isinstance(error, KlingError):
            shown += repr(pickle.dumps(error))
        error = error.__cause__
    return shown


ECHO = f"<p>Bearer {KEY}</p>".encode()


@half_read
@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.Response(200, content=ECHO),
        httpx.Response(502, content=ECHO),
        httpx.Response(401, json={"code": 1002, "message": f"bad key {KEY}"}),
        httpx.Response(200, stream=Pieces([ECHO * 1000] * 1000)),
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Pieces([ECHO])),
    ],
)
async def test_key_is_in_no_error(answer: Exception | httpx.Response) -> None:
    async with fails(answer) if isinstance(answer, Exception) else answers(answer) as kling:
        with pytest.raises(KlingError) as caught:
            await kling.text2video.get("7")

    assert KEY not in everything(caught.value)
    assert KEY not in repr(kling.provider)


async def test_key_goes_to_the_api_alone(tmp_path: Path) -> None:
    emulator = Emulator(keys={KEY})
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        await kling.download(video, tmp_path)
    brought = {seen.host: seen.authorized for seen in emulator.requests}

    assert brought == {"api-singapore.klingai.com": True, "files.kling-emulator.test": False}


async def test_refused_key_names_its_variable() -> None:
    emulator = Emulator(keys={"another"})
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(AuthenticationError, match="KLINGAI_API_KEY") as caught:
            await kling.text2video.submit(prompt="A boat")

    assert len(emulator.requests) == 1
    assert KEY not in everything(caught.value)


@pytest.mark.real_time
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_task_comes_over_real_sockets(tmp_path: Path) -> None:
    emulator = Emulator(duration=0.1)
    async with (
        emulator.serve() as origin,
        Kling(KlingAI(KEY, base_url=f"{origin}/official")) as kling,
    ):
        task = await kling.text2video.submit(prompt="A boat")
        await anyio.sleep(0.1)
        await task.refresh()
        (path,) = await kling.download(await task, tmp_path)

    assert path.read_bytes()[4:8] == b"ftyp"


async def test_cookies_are_not_kept() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        cookie = {"set-cookie": "a=b; max-age=99999999999999999999"}
        return httpx.Response(200, headers=cookie, json={"code": 0, "data": {"task_id": "7"}})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        await kling.text2video.get("7")
        await kling.text2video.get("7")

    assert "cookie" not in seen[1]


async def test_key_that_the_transport_quotes_is_masked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError(f"illegal header line: {KEY}", request=request)

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(AnswerLost, match=r"illegal header line: \*\*\*") as caught:
            await kling.text2video.get("7")

    assert KEY not in "".join(traceback.format_exception(caught.value))
