"""What a check prints."""

from dataclasses import replace
from pathlib import Path

from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.reporting.check_page import LISTED, check_page

REFUSAL = Refusal(
    rule="E-GEO-20",
    case="a",
    file="/raw/labelsTr/a.nii",
    problem="case 'a': shape (30, 88) differs from (31, 88)",
    fix="resample it",
)
FINDING = Finding(
    kind="side",
    case="b",
    what="'liver' lies left",
    measured="62 mm",
    usual="right of it",
    why="it teaches the wrong side",
    fix="mirror it",
    picture="b.png",
)
CLEAN = CheckReport(
    autoseg_version="0",
    dataset="Task",
    origin="/raw",
    cases=7,
    read=7,
    refused=(),
    suspicious=(),
    notes=(),
)
PLACE = Path("/ws/Task/check")


def test_a_clean_dataset_gets_three_lines():
    assert check_page(CLEAN, PLACE).splitlines() == [
        "Task: 7 cases in /raw, 7 read",
        "",
        "0 refused, 0 suspicious, 0 notes; all of it is in /ws/Task/check/check.json",
        "next: autoseg plan_and_preprocess -d /raw",
    ]


def test_the_gravest_comes_first_and_the_next_step_last():
    report = replace(
        CLEAN, read=6, refused=(REFUSAL,), suspicious=(FINDING,), notes=("a: a.nii: rounded",)
    )
    assert check_page(report, PLACE).splitlines() == [
        "Task: 7 cases in /raw, 6 read",
        "",
        "REFUSED: 1",
        "1. E-GEO-20 case 'a': shape (30, 88) differs from (31, 88)",
        "   file: /raw/labelsTr/a.nii",
        "   fix: resample it",
        "",
        "SUSPICIOUS: 1",
        "1. case b: 'liver' lies left",
        "   measured: 62 mm",
        "   usual: right of it",
        "   why it matters: it teaches the wrong side",
        "   fix: mirror it",
        "   picture: /ws/Task/check/b.png",
        "",
        "NOTES: 1",
        "1. a: a.nii: rounded",
        "",
        "1 refused, 1 suspicious, 1 note; all of it is in /ws/Task/check/check.json",
        "next: mend or remove what is refused and check again; autoseg check -d /raw --repair "
        "FOLDER writes a copy with what can be mended",
    ]


def test_where_something_is_suspicious_the_pictures_are_next():
    page = check_page(replace(CLEAN, suspicious=(replace(FINDING, case="", picture=""),)), PLACE)
    assert "\n1. 'liver' lies left\n" in page
    assert "picture:" not in page
    assert page.endswith(
        "next: look at the pictures, mend or --exclude what is wrong, then autoseg "
        "plan_and_preprocess -d /raw"
    )


def test_equal_notes_on_files_are_counted():
    notes = ["a: a.nii: no units", "b: b.nii: no units", "c: c.nii: rounded: 3", "what: ever"]
    page = check_page(replace(CLEAN, notes=tuple(notes)), PLACE)
    assert page.splitlines()[2:6] == [
        "NOTES: 4",
        "1. no units (2 files, first a)",
        "2. c: c.nii: rounded: 3",
        "3. what: ever",
    ]


def test_what_is_too_much_to_read_is_counted():
    page = check_page(replace(CLEAN, refused=(REFUSAL,) * (LISTED + 3)), PLACE)
    assert page.count("E-GEO-20") == LISTED
    assert "\n... and 3 more in check.json\n" in page
