"""Finds the imitated server and the endpoint behind a host and a path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kling_async.emulator._dialects import COMETAPI, GATEWAYS, OFFICIAL, Official

_HOSTS = {
    "api.cometapi.com": COMETAPI,
    "api-singapore.klingai.com": OFFICIAL,
    "api-beijing.klingai.com": OFFICIAL,
    "api.klingai.com": OFFICIAL,
}
_PREFIX = re.compile(r"/(official|cometapi|gateway/(passthrough|newapi|crazyrouter))(?=/)")
_ENDPOINT = re.compile(
    r"/v1/videos/(text2video|image2video|multi-image2video|avatar/image2video)(?:/([^/]+))?"
)
_ANY_VIDEO = re.compile(r"/v1/video(s|/generations)/([^/]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes; `endpoint` is None where the server has no such path."""

    dialect: Official
    endpoint: str | None = None
    task: str | None = None
    openai: bool = False


def locate(host: str, path: str) -> Place:
    """The place of a request, by path prefix first, then by host."""
    prefix = _PREFIX.match(path)
    if prefix is not None:
        dialect = _by_prefix(prefix)
        path = path[prefix.end() :]
    else:
        kling = path.startswith("/kling/")
        dialect = _HOSTS.get(host, COMETAPI if kling else OFFICIAL)
    # These two find a task of any kind by its id alone (New-API).
    any_video = _ANY_VIDEO.fullmatch(path)
    if dialect.openai_queries and any_video is not None:
        return Place(dialect, "", any_video[2], openai=any_video[1] == "s")
    if path.startswith(dialect.prefix):
        found = _ENDPOINT.fullmatch(path[len(dialect.prefix) :])
        if found is not None:
            return Place(dialect, found[1], found[2])
    return Place(dialect)


def _by_prefix(prefix: re.Match[str]) -> Official:
    if prefix[2] is not None:
        return GATEWAYS[prefix[2]]
    return OFFICIAL if prefix[1] == "official" else COMETAPI
