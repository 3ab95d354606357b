"""Calls: where the server is to call, and which task each of its calls is about."""

from __future__ import annotations

import logging
from collections import OrderedDict
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import anyio

from ._callback import Callback
from ._errors import ConfigurationError
from ._poller import Poller
from ._record import Record

_LOG = logging.getLogger("kling_async")

# A create's answer takes two minutes at most, and so does the wait before its look-up.
_REMEMBERED = 300.0
_MOST = 1_024


class Calls:
    """One client's callbacks.

    A call can come before the answer to the create that it is about. So ids that are not
    known are remembered for a while, and those of creates on the wire apart from the rest:
    however many strangers are called about, none of ours is forgotten.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._url: str | None = None
        self._paths: set[str] = set()
        self._named: WeakValueDictionary[tuple[str, str], Record] = WeakValueDictionary()
        self._expected = _Recent()
        self._strangers = _Recent()

    @property
    def url(self) -> str | None:
        """Put on every request that names none itself."""
        return self._url

    @url.setter
    def url(self, url: str | None) -> None:
        if url is not None:
            _check(url)
        self._url = url

    def expect(self, external_id: str) -> None:
        """A create by this id is about to leave."""
        self._expected.note(external_id, None, anyio.current_time())

    def welcome(self, record: Record) -> None:
        """The task is known from now on, and perhaps was called about before."""
        external_id = record.external_task_id
        self._paths.add(record.job.path)
        if external_id is not None and record.job.callback:
            self._named[record.job.path, external_id] = record
        if record.job.born is None:
            return  # by a token, perhaps outside of the loop; it is asked about at once anyway
        now, keys = anyio.current_time(), (record.state.id, external_id or "")
        told = [each.take(key, now) for each in (self._expected, self._strangers) for key in keys]
        if any(told):
            self._poller.called(record, ended=True)
        elif False in told:
            self._poller.called(record, ended=False)

    def hear(self, callback: Callback) -> bool:
        """Ask soon, if it is about one of our tasks and says that it may have ended."""
        if records := self._find(callback):
            told = [self._poller.called(record, ended=callback.says_ended) for record in records]
            return any(told)
        now, ended = anyio.current_time(), callback.says_ended
        external_id = callback.external_task_id
        if external_id is not None and self._expected.holds(external_id, now):
            self._expected.note(external_id, ended, now)
            return True
        for each in filter(None, (callback.task_id, external_id)):
            self._strangers.note(each, ended, now)
        _LOG.debug("a callback about task %r, which is not known here", callback.task_id)
        return False

    def _find(self, callback: Callback) -> list[Record]:
        """One as a rule; an external id may be used on every endpoint."""
        found = [self._poller.records[path].get(callback.task_id) for path in self._paths]
        if not any(found):
            name = callback.external_task_id or ""
            found = [self._named.get((path, name)) for path in self._paths]
        # Before its create is counted as accepted, a task must not be found to have ended.
        return [each for each in found if each is not None and each.ticket.stage != "wire"]


class _Recent:
    """What was said of ids lately: True that the task has ended, None nothing at all."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[float, bool | None]] = OrderedDict()

    def holds(self, key: str, now: float) -> bool:
        """Whether it is remembered."""
        found = self._said.get(key)
        return found is not None and now - found[0] <= _REMEMBERED

    def note(self, key: str, ended: bool | None, now: float) -> None:
        """Remember; that a task has ended is not taken back."""
        ended = self.take(key, now) or ended
        self._said[key] = now, ended
        if len(self._said) > _MOST:
            self._said.popitem(last=False)

    def take(self, key: str, now: float) -> bool | None:
        """What was said; it is forgotten."""
        held, (_, ended) = self.holds(key, now), self._said.pop(key, (0.0, None))
        return ended if held else None


def _check(url: str) -> None:
    # Never shown: it may hold a password, and most often a path that nobody is to guess.
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, TypeError, AttributeError):
        good = False
    if not good or not url.isprintable() or " " in url:
        raise ConfigurationError(
            "callback_url is no http(s) address", advice='Write "https://app.example/kling/..."'
        )
