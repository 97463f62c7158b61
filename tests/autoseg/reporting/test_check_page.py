"""What a check prints."""

import shlex
from dataclasses import replace
from pathlib import Path

from autoseg.core.check_report import CheckReport, Finding, Refusal
from autoseg.core.repair_report import LeftOut, RepairReport
from autoseg.reporting.check_page import LISTED, check_page, repair_lines

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
        CLEAN,
        read=6,
        mendable=6,
        refused=(REFUSAL,),
        suspicious=(FINDING,),
        notes=("a: a.nii: rounded",),
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
        "FOLDER writes a mended copy of the 6 cases that can be read",
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
        "1. no units (2 times, first a)",
        "2. c: c.nii: rounded: 3",
        "3. what: ever",
    ]


def test_what_is_too_much_to_read_is_counted():
    page = check_page(replace(CLEAN, refused=(REFUSAL,) * (LISTED + 3)), PLACE)
    assert page.count("E-GEO-20") == LISTED
    assert "\n... and 3 more in check.json\n" in page


def test_notes_without_a_colon_are_printed_as_they_are():
    note = "images T1w, acq-b_T1w count as one channel, T1w"
    page = check_page(replace(CLEAN, notes=(note,)), PLACE)
    assert f"\n1. {note}\n" in page


def test_equal_notes_on_series_named_as_their_cases_are_counted():
    notes = ("p0: no slice is missing", "p1: no slice is missing", "images X: odd", "images Y: odd")
    page = check_page(replace(CLEAN, notes=notes), PLACE)
    assert page.splitlines()[2:6] == [
        "NOTES: 4",
        "1. no slice is missing (2 times, first p0)",
        "2. images X: odd",
        "3. images Y: odd",
    ]


def next_step(report, **options):
    (line,) = [
        line for line in check_page(report, PLACE, **options).splitlines() if "next: " in line
    ]
    return line


def test_the_next_command_repeats_what_was_asked_for_and_can_be_pasted():
    report = replace(
        CLEAN, origin="/my data/raw", excluded=("a b", "c"), accepted=("E-GEO-13=sform",)
    )
    line = next_step(report, workspace=Path("/my ws"))
    assert shlex.split(line) == [
        "next:",
        *("autoseg", "plan_and_preprocess", "-d", "/my data/raw"),
        *("--exclude", "a b", "--exclude", "c", "--accept", "E-GEO-13=sform"),
        *("--workspace", "/my ws"),
    ]
    line = next_step(replace(report, refused=(REFUSAL,), mendable=1))
    assert line.endswith(
        "autoseg check -d '/my data/raw' --exclude 'a b' --exclude c --accept E-GEO-13=sform "
        "--repair FOLDER writes a mended copy of the 1 case that can be read"
    )


def test_a_repair_is_recommended_only_where_it_helps():
    report = replace(CLEAN, refused=(REFUSAL,), mendable=0)
    assert next_step(report) == (
        "next: mend or remove what is refused and check again: autoseg check -d /raw"
    )
    page = check_page(replace(report, mendable=6), PLACE, repair=Path("/copy"))
    assert "next:" not in page
    assert page.endswith("all of it is in /ws/Task/check/check.json")


def test_a_repair_of_nothing_is_said_not_to_be_made():
    report = replace(CLEAN, read=0, refused=(REFUSAL,))
    assert check_page(report, PLACE, repair=Path("/copy")).splitlines()[-2:] == [
        "not repaired: no case can be read, so /copy was not written",
        "next: mend or remove what is refused and check again: autoseg check -d /raw",
    ]


def test_few_cases_are_said_not_to_be_compared():
    few = "0 suspicious (too few cases to compare: 5 of 6), 0 notes"
    assert few in check_page(replace(CLEAN, read=5), PLACE)
    assert "too few" not in check_page(replace(CLEAN, read=6), PLACE)
    assert "too few" not in check_page(replace(CLEAN, read=5, suspicious=(FINDING,)), PLACE)


def test_cases_that_a_copy_lacks_are_counted_once_and_faults_of_the_layout_apart():
    left = [LeftOut(case=case, rule="E", problem="p", fix="f") for case in ("a", "a", "b", "")]
    report = RepairReport(autoseg_version="0", source="/raw", left_out=tuple(left))
    assert repair_lines(report, Path("/my copy"), None).splitlines()[1:] == [
        "repaired: 0 cases in /my copy, 2 cases left out with 1 fault of the layout, see "
        "/my copy/autoseg_repair.json",
        "next: autoseg check -d '/my copy'",
    ]
    one = repair_lines(replace(report, left_out=tuple(left[:1])), Path("/copy"), None)
    assert "1 case left out, see" in one
