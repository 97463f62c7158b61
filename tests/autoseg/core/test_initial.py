import pytest

from autoseg.core.initial import Initial


@pytest.mark.parametrize(
    ("taken", "parameters", "share"),
    [(150, 200, 0.75), (0, 200, 0.0), (0, 0, 0.0)],
)
def test_share_is_that_of_parameters_not_of_tensors(taken, parameters, share):
    initial = Initial(
        path="model",
        dataset="T",
        configuration="2d",
        model_digest="0",
        copied=1,
        adapted=0,
        fresh=9,
        unused=2,
        parameters=parameters,
        parameters_taken=taken,
    )
    assert initial.share == share
