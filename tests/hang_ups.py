"""Hang-ups: what a connection's script does instead of serving it to its end."""

from __future__ import annotations

import ssl

import trustme

from tests.tls_host import ANSWER, LAST_ANSWER, TASK, Conversation


def closes_at_once(_: Conversation) -> None:
    pass


def resets_at_once(conversation: Conversation) -> None:
    conversation.reset()


def closes_in_the_handshake(conversation: Conversation) -> None:
    conversation.sock.recv(100)


def speaks_no_tls(conversation: Conversation) -> None:
    conversation.sock.recv(100)
    conversation.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def speaks_first(conversation: Conversation) -> None:
    conversation.say(b"220 mail.test ESMTP\r\n")
    conversation.sock.recv(100)


def is_somebody_else(conversation: Conversation) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    conversation.sock = context.wrap_socket(conversation.sock, server_side=True)


def closes_after_the_handshake(conversation: Conversation) -> None:
    conversation.shake_hands()


def parts_after_the_handshake(conversation: Conversation) -> None:
    conversation.shake_hands()
    conversation.part()


def resets_after_the_handshake(conversation: Conversation) -> None:
    conversation.shake_hands()
    conversation.reset()


def closes_after_the_request(conversation: Conversation) -> None:
    conversation.shake_hands()
    conversation.read()


def resets_after_the_request(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.reset()


def closes_in_the_headers(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(ANSWER[:25])


def closes_in_the_body(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(ANSWER[:-5])


def says_nonsense(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(b"220 mail.test ESMTP\r\n\r\n")


def closes_after_the_body(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say()


def parts_after_the_body(conversation: Conversation) -> None:
    closes_after_the_body(conversation)
    conversation.part()


def resets_after_the_body(conversation: Conversation) -> None:
    closes_after_the_body(conversation)
    conversation.sock.settimeout(0.2)
    conversation.sock.recv(1)  # until it has arrived


def announces_the_close(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(LAST_ANSWER)


def ends_by_closing(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(b"HTTP/1.1 200 OK\r\n\r\n" + TASK)


def answers_early(conversation: Conversation) -> None:
    conversation.shake_hands()
    conversation.say()
    conversation.serve()


def answers_in_pieces(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    for at in range(len(ANSWER)):
        conversation.say(ANSWER[at : at + 1])
    conversation.serve()


def stalls_in_the_handshake(conversation: Conversation) -> None:
    conversation.pause()


def stalls_before_the_request(conversation: Conversation) -> None:
    conversation.shake_hands()
    conversation.pause()


def stalls_after_the_request(conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.pause()


def stalls_in_the_headers(conversation: Conversation) -> None:
    closes_in_the_headers(conversation)
    conversation.pause()


def stalls_in_the_body(conversation: Conversation) -> None:
    closes_in_the_body(conversation)
    conversation.pause()


UNSENT = [
    closes_at_once,
    resets_at_once,
    closes_in_the_handshake,
    speaks_no_tls,
    speaks_first,
    is_somebody_else,
]
LOST = [
    closes_after_the_handshake,
    parts_after_the_handshake,
    resets_after_the_handshake,
    closes_after_the_request,
    resets_after_the_request,
    closes_in_the_headers,
    closes_in_the_body,
    says_nonsense,
]
ANSWERED = [
    closes_after_the_body,
    parts_after_the_body,
    resets_after_the_body,
    announces_the_close,
    ends_by_closing,
    answers_early,
    answers_in_pieces,
]
STALLS = [
    stalls_before_the_request,
    stalls_after_the_request,
    stalls_in_the_headers,
    stalls_in_the_body,
]


def closes_idle(conversation: Conversation) -> None:
    closes_after_the_body(conversation)
    conversation.wait()


def parts_idle(conversation: Conversation) -> None:
    closes_idle(conversation)
    conversation.part()


def resets_idle(conversation: Conversation) -> None:
    closes_idle(conversation)
    conversation.reset()


def complains_idle(conversation: Conversation) -> None:
    closes_idle(conversation)
    conversation.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    conversation.end()
