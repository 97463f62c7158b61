import pytest

from autoseg.core.errors import UsageError
from autoseg.training.origin import Environment, Origin, check_origin, environment_notes

BEGUN = Origin(description="ab", fold=1, cases=(("a", "1"), ("b", "2"), ("c", "3")))


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        pytest.param(
            Origin(description="cd", fold=1, cases=BEGUN.cases),
            "plan, settings or labels",
            id="settings",
        ),
        pytest.param(
            Origin(description="ab", fold=1, cases=(("a", "1"), ("b", "9"), ("c", "8"))),
            "preprocessed data: changed b, c",
            id="changed",
        ),
        pytest.param(
            Origin(description="ab", fold=1, cases=(("a", "1"), ("b", "2"), ("d", "3"))),
            "set of cases: new d; set of cases: gone c",
            id="other-cases",
        ),
        pytest.param(
            Origin(description="ab", fold=1, cases=(("b", "2"), ("a", "1"), ("c", "3"))),
            "order of cases",
            id="order",
        ),
        pytest.param(
            Origin(
                description="ab",
                fold=1,
                cases=(*BEGUN.cases, *((f"n{number}", "") for number in range(7))),
            ),
            "set of cases: new n0, n1, n2, n3, n4 and 2 more",
            id="many",
        ),
    ],
)
def test_the_difference_is_named(tmp_path, wanted, difference):
    with pytest.raises(UsageError) as error:
        check_origin(tmp_path, BEGUN, wanted)
    assert error.value.text == f"E-RUN-78 {tmp_path}: holds a training with another {difference}"
    assert error.value.rule == "E-RUN-78"
    assert "another --run" in error.value.hint


def test_the_same_goes_on(tmp_path):
    check_origin(tmp_path, BEGUN, Origin(description="ab", fold=1, cases=BEGUN.cases))


def test_what_changes_the_last_bits_is_noted():
    begun = Environment(
        device="cpu in float32", threads=2, versions=(("autoseg", "1"), ("torch", "2.12"))
    )
    now = Environment(
        device="cpu in bfloat16", threads=2, versions=(("autoseg", "1"), ("torch", "2.13"))
    )
    device, torch = environment_notes(begun, now)
    assert device.startswith("device was cpu in float32 and is cpu in bfloat16 now: the training")
    assert torch.startswith("torch was 2.12 and is 2.13 now: ")
    assert list(environment_notes(begun, begun)) == []
