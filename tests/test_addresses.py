"""Files come from the public internet, over https, and whoever redirects is not believed."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    ConfigurationError,
    DownloadError,
    Downloads,
    Kling,
    KlingAI,
    Video,
    VideoResult,
)
from kling_async._addresses import Addresses
from kling_async._errors import ConnectFailed
from kling_async._transport import place
from tests.film_host import KEY, RESULT, URL, FilmHost, film

HOME = "https://api-singapore.klingai.com"
Row = tuple[Any, Any, int, str, tuple[str, int]]


def moved(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


def at(url: str) -> VideoResult:
    return VideoResult(task_id="7", videos=(Video(url=url),))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed_without_the_key(status: int, tmp_path: Path) -> None:
    host = FilmHost(film(1000))
    host.first += [moved("https://other.test/a", status), moved("../b?sign=x", status)]
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert [str(request.url) for request in host.requests] == [
        URL,
        "https://other.test/a",
        "https://other.test/b?sign=x",
    ]
    assert not any(
        {"authorization", "cookie"} & request.headers.keys() for request in host.requests
    )


async def test_redirects_have_an_end(tmp_path: Path) -> None:
    host = FilmHost(film(1000))
    host.first += [moved("/again")] * 9
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="redirects more than 5 times"):
            await kling.download(RESULT, tmp_path)

    assert len(host.requests) == 6


async def test_redirect_to_nowhere_is_an_error(tmp_path: Path) -> None:
    host = FilmHost(film(1000))
    host.first.append(httpx.Response(302))
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 302"):
            await kling.download(RESULT, tmp_path)


PRIVATE = [
    "127.0.0.1",
    "169.254.169.254",
    "192.0.0.192",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1.",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:7f00:1::]",
    "[2001:0:808:808:0:0:80ff:fffe]",
]


@pytest.mark.parametrize("host", PRIVATE)
async def test_redirect_into_the_house_is_refused(host: str, tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    files.first.append(moved(f"https://{host}/0.mp4?sign=abc"))
    async with files.client() as kling:
        with pytest.raises(DownloadError, match="public internet") as caught:
            await kling.download(RESULT, tmp_path)

    assert len(files.requests) == 1
    assert "sign=abc" not in str(caught.value)
    assert "private=True" in str(caught.value)


@pytest.mark.parametrize("host", ["127。0。0。1", "127.0.0.1"])
async def test_address_in_the_house_is_refused_though_the_api_names_it(
    host: str, tmp_path: Path
) -> None:
    files = FilmHost(film(1000))
    async with files.client() as kling:
        with pytest.raises(DownloadError, match="public internet"):
            await kling.download(at(f"https://{host}/0.mp4"), tmp_path)

    assert not files.requests


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1]", "[2002:808:808::]", "134744072"])
async def test_public_address_is_taken(host: str, tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    async with files.client() as kling:
        assert await kling.download(at(f"https://{host}/0.mp4"), tmp_path)


async def test_private_address_is_taken_on_demand(tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    async with files.client(downloads=Downloads(private=True, http=True)) as kling:
        assert await kling.download(at("http://127.0.0.1/0.mp4"), tmp_path)


@pytest.mark.parametrize("url", ["http://f.test/0.mp4", "HTTP://f.test/0.mp4"])
async def test_plain_http_is_refused(url: str, tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    async with files.client() as kling:
        with pytest.raises(DownloadError, match=r"not https.*http=True"):
            await kling.download(at(url), tmp_path)

    assert not files.requests


@pytest.mark.parametrize("url", ["https://a:b@f.test/0.mp4", "https://a@f.test/0.mp4"])
async def test_name_and_password_in_an_address_are_refused(url: str, tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    async with files.client() as kling:
        with pytest.raises(DownloadError, match="password") as caught:
            await kling.download(at(url), tmp_path)

    assert "a:b" not in str(caught.value)


async def test_host_of_the_api_is_trusted_where_the_api_names_it(tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    kling = Kling(KlingAI(KEY, base_url="http://127.0.0.1:8000"), transport=files)
    async with kling:
        files.first.append(moved("/files/1.mp4"))
        assert await kling.download(at("http://127.0.0.1:9000/0.mp4"), tmp_path)
        files.first.append(moved("http://127.0.0.1:9200/"))
        with pytest.raises(DownloadError, match="not https"):
            await kling.download(at(URL), tmp_path / "b.mp4")


async def test_host_of_the_api_is_not_trusted_over_plain_http(tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    async with Kling(KlingAI(KEY, base_url="https://api.test"), transport=files) as kling:
        assert await kling.download(at("https://api.test:8443/0.mp4"), tmp_path / "a.mp4")
        with pytest.raises(DownloadError, match="not https"):
            await kling.download(at("http://api.test/0.mp4"), tmp_path / "b.mp4")


class Names:
    """Stands in for the system's look-up."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def __call__(self, host: str, port: int, **_: object) -> list[Row]:
        if not self.addresses:
            raise socket.gaierror("no such name")
        return [(None, None, 0, "", (address, port)) for address in self.addresses]


async def looked_up(
    patch: pytest.MonkeyPatch, *found: str, pins: bool = True, **allowed: bool
) -> list[str]:
    patch.setattr(anyio, "getaddrinfo", Names(*found))
    addresses = Addresses(place("https://api.test"), Downloads(**allowed), looks_up=True, pins=pins)
    return await addresses.check(place("https://f.test/0.mp4"), None)


async def test_checked_addresses_are_those_to_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await looked_up(monkeypatch, "8.8.8.8", "2606:4700::1") == ["8.8.8.8", "2606:4700::1"]
    assert await looked_up(monkeypatch, "10.0.0.1", private=True) == []


async def test_name_that_leads_into_the_house_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match=r"f\.test/0\.mp4 leads to 10\.0\.0\.1"):
        await looked_up(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(DownloadError, match=r"leads to 10\.0\.0\.1"):
        await looked_up(monkeypatch, "10.0.0.1", pins=False)


async def test_name_that_nobody_knows_may_be_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectFailed, match=r"cannot find f\.test"):
        await looked_up(monkeypatch)


async def test_proxy_finds_the_address_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await looked_up(monkeypatch, "8.8.8.8", pins=False) == []
    assert await looked_up(monkeypatch, pins=False) == []


async def test_proxy_of_the_environment_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    async with Kling(KlingAI(KEY)) as kling:
        assert not kling._transport.pins


class Port:
    """A server on a real port that tells what host it is taken for."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head = (await stream.receive()).decode()
            self.hosts += re.findall("host: (.+)\r", head, re.IGNORECASE)
            content = film(1000)
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + content)


@pytest.mark.real_time
async def test_address_is_connected_to_in_the_name_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = Port()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    number = listener.extra(anyio.abc.SocketAttribute.local_port)
    addresses = ["::1", "127.0.0.1"]  # nobody listens on the first

    async def check(*_: object) -> list[str]:
        return addresses

    monkeypatch.setattr(Addresses, "check", check)
    async with listener, anyio.create_task_group() as group, Kling(KlingAI(KEY)) as kling:
        group.start_soon(listener.serve, server.serve)
        await kling.download(at(f"http://f.test:{number}/0.mp4"), tmp_path)
        group.cancel_scope.cancel()

    assert server.hosts == [f"f.test:{number}"]


def test_malformed_address_of_the_api_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="base_url .* malformed"):
        Kling(KlingAI(KEY, base_url="https://\u2603..test"))


async def test_transport_that_refuses_an_address_is_not_asked_again(tmp_path: Path) -> None:
    files = FilmHost(film(1000))
    files.first.append(httpx.UnsupportedProtocol("nothing but gopher"))
    async with files.client() as kling:
        with pytest.raises(DownloadError, match=r"cannot send to f\.test: nothing but gopher"):
            await kling.download(RESULT, tmp_path)

    assert len(files.requests) == 1
