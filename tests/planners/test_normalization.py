from dataclasses import replace

import pytest

from planners.normalization import choose_normalization


@pytest.mark.parametrize(
    ("channel", "scheme"),
    [
        ("CT", "ct"),
        ("ct", "ct"),
        ("noNorm", "none"),
        ("zScore", "zscore"),
        ("rescale_to_0_1", "rescale_to_0_1"),
        ("RGB_to_0_1", "rgb_to_0_1"),
        ("T1 with contrast", "zscore"),
        ("CTA", "zscore"),
    ],
)
def test_the_channel_name_names_the_scheme(fingerprint_of, description_of, channel, scheme):
    fingerprint = fingerprint_of([((1.0, 1.0, 1.0), (30, 20, 10))])

    (chosen,) = choose_normalization(fingerprint, description_of(2, channel))

    assert chosen.scheme == scheme
    assert chosen.statistics == fingerprint.channels[0]


@pytest.mark.parametrize(
    ("rows", "is_masked"),
    [pytest.param(5, True, id="five-eighths"), pytest.param(6, False, id="exactly-three-quarters")],
)
def test_only_zscore_is_masked_and_only_if_little_of_the_median_case_is_kept(
    fingerprint_of, description_of, rows, is_masked
):
    # Cropping keeps 1, `rows` and 8 of 8 rows of three cases.
    fingerprint = fingerprint_of([((1.0, 1.0, 1.0), (n, 7, 9)) for n in (1, rows, 8)], channels=2)
    cases = tuple(replace(case, shape=(8, 7, 9)) for case in fingerprint.cases)

    zscore, ct = choose_normalization(
        replace(fingerprint, cases=cases), description_of(2, "MRI", "CT")
    )

    assert zscore.inside_nonzero_only is is_masked
    assert ct.inside_nonzero_only is False
