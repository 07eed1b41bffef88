"""Responses that are not read: bounded in all, the longest waiting client is cut, and nobody who reads."""

from __future__ import annotations

import pytest

from mlrf.serving.http.unsent import UnsentResponses


class Reader:
    def __init__(self, unsent):
        self.unsent = unsent
        self.is_cut = False

    def unsent_bytes(self):
        return self.unsent

    def cut_slow_reader(self):
        self.is_cut = True


@pytest.fixture
def responses():
    return UnsentResponses(max_bytes=100)


def note(responses, *readers):
    for reader in readers:
        responses.note(reader, reader.unsent)


def test_the_longest_waiting_are_cut_beyond_the_bound(responses):
    readers = [Reader(20) for _ in range(6)]
    note(responses, *readers[:5])
    assert not any(reader.is_cut for reader in readers)
    note(responses, readers[5])
    assert [reader.is_cut for reader in readers] == [True, True, True, False, False, False]


def test_what_was_read_meanwhile_cuts_nobody(responses):
    readers = [Reader(20) for _ in range(5)]
    note(responses, *readers)
    readers[0].unsent = 0
    late = Reader(20)
    note(responses, late)
    assert not any(reader.is_cut for reader in (*readers, late))


def test_a_client_that_read_waits_anew(responses):
    first, second, third = Reader(35), Reader(35), Reader(35)
    note(responses, first, second)
    responses.note(first, 35, was_read=True)
    note(responses, third)
    assert [first.is_cut, second.is_cut, third.is_cut] == [False, True, False]


def test_a_response_longer_than_the_bound_is_cut_itself(responses):
    reader = Reader(101)
    note(responses, reader)
    assert reader.is_cut


def test_a_closed_connection_counts_no_more(responses):
    readers = [Reader(60) for _ in range(4)]
    for reader in readers:
        note(responses, reader)
        responses.forget(reader)
    assert not any(reader.is_cut for reader in readers)
