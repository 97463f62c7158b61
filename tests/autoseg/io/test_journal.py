"""Events come back as they were recorded, whatever tore the file."""

import time

import pytest

from autoseg.io.journal import Journal


@pytest.fixture
def journal(tmp_path):
    return Journal(path=tmp_path / "fold_0" / "run.jsonl")


def _without_time(journal):
    return [
        {key: value for key, value in event.items() if key != "time"} for event in journal.events()
    ]


def test_events_come_back_in_order_with_their_time(journal):
    before = time.time()
    journal.record("start", fold=3, device="cpu")
    journal.record("epoch", epoch=0, dice=[0.5, None])
    assert _without_time(journal) == [
        {"event": "start", "fold": 3, "device": "cpu"},
        {"event": "epoch", "epoch": 0, "dice": [0.5, None]},
    ]
    times = [event["time"] for event in journal.events()]
    assert before - 0.001 <= times[0] <= times[1] <= time.time() + 0.001


def test_a_journal_that_was_never_written_has_no_events(journal):
    assert journal.events() == []


def test_a_torn_line_costs_only_its_own_event(journal):
    journal.record("start")
    journal.record("epoch", epoch=0)
    torn = journal.path.read_bytes()[:-9]
    journal.path.write_bytes(torn)
    journal.record("epoch", epoch=1)
    assert _without_time(journal) == [{"event": "start"}, {"event": "epoch", "epoch": 1}]


@pytest.mark.parametrize("text", ["two\nlines", "a\u2028b", "\x85", "größer"])
def test_text_that_breaks_lines_stays_one_event(journal, text):
    journal.record("note", text=text)
    assert _without_time(journal) == [{"event": "note", "text": text}]


def test_bytes_and_values_that_are_no_events_are_left_out(journal):
    journal.record("start")
    with journal.path.open("ab") as file:
        file.write(b'\xff\xfe\x00garbage\n[1, 2]\n7\n\n"text"\n')
    journal.record("end")
    assert _without_time(journal) == [{"event": "start"}, {"event": "end"}]


def test_nan_is_no_json_value(journal):
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.record("epoch", loss=float("nan"))
    assert journal.events() == []
