"""What may be accepted is read strictly, and named as the command line writes it."""

import pytest

from autoseg.core.acceptance import (
    OPT_INS,
    Acceptance,
    choice_of,
    choices_of,
    key_parts,
    offer,
    parse_accepted,
)
from autoseg.core.errors import UsageError


def test_choices_are_read_in_any_order_and_once():
    accepted = parse_accepted(["E-VAL-28", "e-geo-13=qform", " E-VAL-28 = fill "])
    assert [each.text for each in accepted] == ["E-GEO-13=qform", "E-VAL-28=fill"]
    assert choice_of(accepted, "E-GEO-13") == "qform"
    assert choice_of(accepted, "E-GEO-14") is None
    assert choice_of((), "E-GEO-13") is None


def test_a_text_of_the_user_s_own_may_be_given_for_several_folders():
    accepted = parse_accepted(["E-DCM-53=1.2.9", "E-DCM-53=1.2.3"])
    assert choices_of(accepted, "E-DCM-53") == ("1.2.3", "1.2.9")


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        pytest.param(
            "E-GEO-16=straighten",
            r"--accept 'E-GEO-16': nothing can be accepted of this rule .*; something can be",
            "mend what the rule refuses",
            id="no-opt-in",
        ),
        pytest.param("E-RES-63", "nothing can be accepted of this rule; ", "mend", id="other-area"),
        pytest.param(
            "E-GE0-13=sform", r"'E-GE0-13': is .* no rule \(meant 'E-GEO-13'", "mend", id="typo"
        ),
        pytest.param(
            "sform", r"'sform': is the name of no rule; .*E-GEO-13, E-GEO", "mend", id="0"
        ),
        pytest.param(
            "E-GEO-13=sfrom",
            r"E-GEO-13: the choice 'sfrom' \(meant 'sform'\?\) .* E-GEO-13=sform or E-GEO-13=qform",
            "--accept E-GEO-13=sform",
            id="choice",
        ),
        pytest.param("E-GEO-13", "E-GEO-13: a choice is missing; .*sform or", "--acc", id="none"),
        pytest.param("E-DCM-53=", "a choice is missing; .* E-DCM-53=SERIES_UID", "--acc", id="uid"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(text: str, says: str, hint: str):
    with pytest.raises(UsageError, match=says) as caught:
        parse_accepted([text])
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 2


def test_two_choices_of_a_rule_exclude_each_other():
    with pytest.raises(UsageError, match="E-GEO-18=convert and --accept E-GEO-18=mm exclude each"):
        parse_accepted(["E-GEO-18=mm", "E-GEO-18=convert"])


def test_what_changes_no_voxel_is_in_no_key():
    assert key_parts(parse_accepted(["E-SET-44", "E-VAL-28"])) == ("E-VAL-28=fill",)
    assert key_parts(()) == ()


def test_a_hint_offers_the_choices_that_help():
    assert offer("E-GEO-13") == ", or --accept E-GEO-13=sform (or =qform)"
    assert offer("E-GEO-18", but="convert") == ", or --accept E-GEO-18=mm"
    assert offer("E-DCM-53") == ", or --accept E-DCM-53=SERIES_UID"


@pytest.mark.parametrize("opt_in", OPT_INS.values(), ids=OPT_INS)
def test_every_opt_in_can_be_chosen_and_says_what_it_does(opt_in):
    for choice in opt_in.choices or ("1.2.840",):
        accepted = Acceptance(rule=opt_in.rule, choice=choice)
        assert parse_accepted([accepted.text]) == (accepted,)
    assert opt_in.says.endswith(".")
    assert bool(opt_in.choices) != bool(opt_in.placeholder)
