import numpy as np
import pytest

from autoseg.core.errors import DocumentError
from autoseg.io.encoding import EncodedImage, Encoding, decode, encode

INT16 = Encoding(dtype="int16", scales=(0.5, 0.01), shifts=(-20, 300))


def test_codes_count_steps_from_the_shift():
    # 3.2 / 0.5 is 6.4: 6 steps, 26 above -20; -9.9 / 0.5 is -19.8: -20; 4.004 / 0.01 is 400.4.
    image = np.array([[[3.2, -9.9]], [[4.004, 2.0]]], np.float32)
    codes = encode(image, INT16)
    assert codes.dtype == np.int16
    assert codes.tolist() == [[[26, 0]], [[100, -100]]]
    np.testing.assert_allclose(decode(codes, INT16), [[[3.0, -10.0]], [[4.0, 2.0]]], rtol=1e-6)


def test_zero_is_kept_exactly():
    rng = np.random.default_rng(1)
    for scale, shift in zip(
        10 ** rng.uniform(-6, 3, 50), rng.integers(-30_000, 30_000, 50), strict=True
    ):
        encoding = Encoding(dtype="int16", scales=(float(scale),), shifts=(int(shift),))
        zero = np.zeros((1, 2, 3), np.float32)
        assert (decode(encode(zero, encoding), encoding) == 0).all()


def test_a_part_of_some_channels_is_decoded_with_their_scales():
    image = np.random.default_rng(3).uniform(-9, 9, (2, 4, 5, 6)).astype(np.float32)
    encoding = Encoding(dtype="int16", scales=(0.001, 0.01), shifts=(5, 0))
    stored = EncodedImage(encode(image, encoding), encoding)
    whole = stored[...]
    np.testing.assert_array_equal(stored[1:, 2], whole[1:, 2])
    np.testing.assert_array_equal(stored[1], whole[1])
    np.testing.assert_array_equal(stored[:, :, 1:3], whole[:, :, 1:3])
    assert stored.shape == (2, 4, 5, 6)
    assert np.abs(whole - image).max(axis=(1, 2, 3)) == pytest.approx([0.0005, 0.005], rel=0.1)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_are_stored_as_such(dtype):
    image = np.array([[[0.1, -2000.7]]], np.float32)
    stored = encode(image, Encoding(dtype=dtype))
    assert stored.dtype == dtype
    decoded = decode(stored, Encoding(dtype=dtype))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, image.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "scales", "shifts"),
    [("int16", (), ()), ("int16", (0.5,), ()), ("float16", (0.5,), (0,))],
)
def test_scales_and_shifts_belong_to_int16(dtype, scales, shifts):
    said = f"encoding as {dtype}: {len(scales)} scales and {len(shifts)} shifts"
    with pytest.raises(DocumentError, match=said):
        Encoding(dtype=dtype, scales=scales, shifts=shifts)
