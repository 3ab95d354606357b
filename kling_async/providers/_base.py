"""Provider: what every dialect shares; requests become calls, replies become states."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from html import escape
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote, urlsplit

from .._envelope import Held, read_page, read_task
from .._errors import APIError, AuthenticationError, BadEnvelope, ConfigurationError, KlingError
from .._exchange import Call, Reply
from .._limits import Limits
from .._state import TaskState


class Provider(ABC):
    """One server's dialect: pure, without I/O.

    A new dialect is a subclass: it sets `name`, `prefix`, the abilities and `limits`, and
    says how it authorizes.
    """

    name: ClassVar[str]
    """As it stands in errors and tokens."""
    prefix: ClassVar[str] = ""
    """What stands before /v1 in every path."""
    key_variable: ClassVar[str] = ""
    """The environment variable to name when the key is refused."""

    unreachable: str = "Check base_url and the network."
    """What to do when no connection comes about."""
    lists: bool = False
    """Whether it serves lists of tasks."""
    finds_external_id: bool | None = None
    """Whether a task can be asked for by its external_task_id; None: not known."""
    refuses_duplicate_ids: bool | None = None
    """Whether a second create with the same external_task_id is refused; None: not known."""

    def __init__(self, base_url: str, limits: Limits) -> None:
        self.base_url = _checked_url(base_url)
        self.limits = limits

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a key and is not pickled; make one in each process,"
            " and send tokens between them"
        )

    @abstractmethod
    def authorization(self, now: float) -> str:
        """The Authorization header's value at Unix time *now*."""

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """What must never appear in a text."""

    @property
    def server(self) -> str:
        """Whose tasks they are, for who keeps them: what runs on one is unknown on another."""
        return f"{self.name} at {self.base_url}"

    @property
    def account(self) -> str:
        """A mark of the key, which tells another one and nothing of the key itself."""
        return sha256("\0".join(self.secrets()).encode()).hexdigest()[:12]

    def renew(self) -> bool:
        """Drop a token that the server calls expired; False where there is none to renew."""
        return False

    def create(self, path: str, body: Mapping[str, Any]) -> Call:
        """The call that creates a task."""
        return Call("POST", self._url(path), body)

    def query(self, path: str, task_id: str) -> Call:
        """The call that asks for one task, by its id or its external id."""
        return Call("GET", f"{self._url(path)}/{quote(task_id, safe='')}")

    def page(self, path: str, number: int, size: int) -> Call:
        """The call for one page of the account's tasks, counted from 1."""
        return Call("GET", f"{self._url(path)}?pageNum={number}&pageSize={size}")

    def read_task(self, reply: Reply) -> TaskState:
        """The task in the reply; raises what the server said instead."""
        reply = self._without_secrets(reply)  # rebound: tracebacks may show what frames hold
        try:
            return read_task(reply)
        except KlingError as error:
            raise self._in_context(error) from None

    def read_page(self, reply: Reply, held: Held | None = None) -> list[TaskState]:
        """The items of a page, of which only what is news to *held* is decoded; no task, no id."""
        reply = self._without_secrets(reply)
        try:
            return read_page(reply, held)
        except KlingError as error:
            raise self._in_context(error) from None

    def _url(self, path: str) -> str:
        return f"{self.base_url}{self.prefix}{path}"

    def _without_secrets(self, reply: Reply) -> Reply:
        content, headers = reply.content, reply.headers
        text = "\n".join([*headers.values(), content.decode("latin-1")])
        escaped = any(sign in text and eager.search(text) for sign, eager in _EAGER)
        for secret in self.secrets():
            # What is shorter is no live key, and may be a word of the answer itself.
            if len(secret) < _SHORTEST_SECRET or not (escaped or _run(secret) in text):
                continue
            pattern = _spellings(secret)
            headers = {name: pattern.sub("***", value) for name, value in headers.items()}
            content = content.replace(secret.encode(), b"***")
            if _ESCAPES.search(content):
                text = content.decode("latin-1")
                content = pattern.sub("***", text).encode("latin-1")
        return Reply(reply.status, headers, content)

    def scrub(self, error: KlingError) -> bool:
        """Take the key out of an error's words; whether it stood there."""
        words = error.message
        for secret in self.secrets():
            if len(secret) >= _SHORTEST_SECRET:
                words = _spellings(secret).sub("***", words)
        found, error.message, error.args = words != error.message, words, (words,)
        return found

    def _in_context(self, error: KlingError) -> KlingError:
        error.provider = self.name
        if isinstance(error, AuthenticationError) and self.key_variable:
            error.advice = f"Check the key: {self.key_variable}, or the one given in code."
        if isinstance(error, BadEnvelope):
            error.advice = f"If it lasts, check base_url: {self.base_url} is being asked."
        return error


_SHORTEST_SECRET = 8
_ESCAPES = re.compile(rb"[\\%]|&(?:#|amp|lt|gt|quot)")
# What no ordinary answer holds: escapes of letters and digits, a backslash before one. Without
# them a key's run of those stands as it is. Each with a sign that is found faster than it.
_HEX = "(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])"
_EAGER = [
    ("%", re.compile(f"%{_HEX}")),
    ("\\", re.compile(rf"\\(?:u00{_HEX}|[0-9A-Za-tv-z])")),
    ("&#", re.compile("&#")),
]


@lru_cache(maxsize=16)
def _run(secret: str) -> str:
    """The key's longest run of letters and digits; u is none, as \\u begins any escape."""
    return max(re.findall("[0-9A-Za-tv-z]+", secret), key=len, default="")


@lru_cache(maxsize=16)
def _spellings(secret: str) -> re.Pattern[str]:
    """The key as it stands, and as JSON, URLs and HTML may write it."""
    return re.compile("".join(map(_spelling, secret)))


def _spelling(character: str) -> str:
    number, plain = ord(character), re.escape(character)
    html = re.escape(escape(character))
    return (
        rf"(?:{plain}|{html}|\\\\{{0,7}}(?:{plain}|u00(?i:{number:02x}))|%(?i:{number:02x})"
        rf"|&#0*(?:{number}|[xX]0*(?i:{number:x}));)"
    )


def is_expired_token(error: KlingError) -> bool:
    """Whether signing anew may help: not yet valid, or expired (KLING_API D.1)."""
    return isinstance(error, APIError) and error.code in (1003, 1004)


def checked_key(key: str, what: str) -> str:
    """A key as it can stand in a header; line ends from files are taken off."""
    stripped = (key or "").strip()  # os.environ.get may have given None
    if not stripped:
        raise ConfigurationError(f"{what} is empty")
    if not re.fullmatch(r"[\x21-\x7e]+", stripped):
        raise ConfigurationError(
            f"{what} holds white space or characters that no key has; copy it anew"
        )
    return stripped


def _checked_url(base_url: str) -> str:
    # What is no URL is not repeated: it may be the key, given in the wrong place.
    url = (base_url or "").strip()
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigurationError("base_url is no URL; one begins with https:// or http://")
    if "@" in url:
        raise ConfigurationError("base_url holds a user name or password; give the key as one")
    if re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise ConfigurationError("base_url holds white space, a control character or a backslash")
    if "?" in url or "#" in url:
        raise ConfigurationError("base_url holds ? or #; leave out what follows the path")
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError as error:
        raise ConfigurationError(f"base_url {url!r}: {error}") from None
    if not named:
        raise ConfigurationError(f"base_url {url!r} names no host, or port 0")
    if re.search(r"/(kling|v1)(/|$)", parts.path):
        raise ConfigurationError(
            f"base_url {url!r}: leave out /kling and /v1, which are added; give the origin only"
        )
    return url.rstrip("/")
