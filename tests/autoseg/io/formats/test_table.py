"""Every format against the same object: positions, channels, round trips, and equal bytes."""

import gzip
import hashlib
import itertools
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image as PillowImage

from autoseg.core.errors import DocumentError, GeometryError, ImageFileError, VoxelError
from autoseg.core.geometry import Geometry, Orientation
from autoseg.core.labels import Labels
from autoseg.io import guard, images
from autoseg.io.formats import table as formats
from autoseg.io.formats.image_digest import stored_digest

LABELS = Labels(names=("background", "left", "right"))
VOLUMES = (".nrrd", ".mha", ".mhd")
TILT = np.deg2rad(20)
OBLIQUE = np.array(
    [[np.cos(TILT), -np.sin(TILT), 0], [np.sin(TILT), np.cos(TILT), 0], [0, 0, 1]]
) @ np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
LEFT_HANDED = np.array([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]])  # determinant -1


def numbered(shape: tuple[int, ...] = (3, 4, 5), dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def itk_image(array: np.ndarray, direction: np.ndarray) -> SimpleITK.Image:
    """An image of (z, y, x) voxels with edges of 0.5, 0.75 and 3 mm along its axes."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((-20.5, 35.25, 8.0))
    image.SetDirection(direction.ravel().tolist())
    return image


def mask_of(array: np.ndarray) -> np.ndarray:
    """Labels of an asymmetric object: each third number, on the far side."""
    return ((array % 3) * (array > 20)).astype(np.uint8)


def test_every_ending_has_a_format_and_none_is_left_over():
    assert tuple(formats.FORMATS) == guard.FILE_ENDINGS
    assert set(guard.ANATOMICAL_ENDINGS) < set(guard.FILE_ENDINGS)


@pytest.mark.parametrize("orientation", ["canonical", "stored"])
@pytest.mark.parametrize(
    "direction", [np.eye(3), OBLIQUE, LEFT_HANDED], ids=["lps", "oblique", "left"]
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("ending", VOLUMES)
def test_a_volume_is_the_same_array_as_its_nifti(
    ending: str, packed: bool, direction: np.ndarray, orientation: Orientation, tmp_path: Path
):
    image = itk_image(numbered(), direction)
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    found = images.read_image(path, orientation=orientation)
    expected = images.read_image(tmp_path / "a.nii.gz", orientation=orientation)
    assert np.array_equal(found.voxels, expected.voxels)
    assert found.voxels.flags.c_contiguous
    assert found.geometry.file_axes == expected.geometry.file_axes
    assert found.geometry.reversed_axes == expected.geometry.reversed_axes
    # NIfTI holds its matrix in float32: 35.25 mm and edges with 24 bits.
    assert np.abs(found.geometry.affine - expected.geometry.affine).max() < 5e-6
    assert found.notes == ()


@pytest.mark.parametrize(
    "direction", [np.eye(3), OBLIQUE, LEFT_HANDED], ids=["lps", "oblique", "left"]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", VOLUMES)
def test_a_segmentation_lies_where_its_object_is(
    ending: str, dtype: type, direction: np.ndarray, tmp_path: Path
):
    path, output = tmp_path / f"a{ending}", tmp_path / "out" / f"a{ending}"
    SimpleITK.WriteImage(itk_image(numbered(), direction), str(path))
    image = images.read_image(path)
    images.write_segmentation(output, mask_of(image.voxels[0]).astype(dtype), image.geometry)
    written, original = SimpleITK.ReadImage(str(output)), SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(written), mask_of(numbered()))
    assert written.GetSize() == original.GetSize()
    assert np.allclose(written.GetDirection(), original.GetDirection(), rtol=0, atol=1e-6)
    assert np.allclose(written.GetOrigin(), original.GetOrigin(), rtol=0, atol=1e-6)
    assert np.allclose(written.GetSpacing(), original.GetSpacing(), rtol=0, atol=1e-6)
    assert [file.name for file in output.parent.iterdir()] == [f"a{ending}"]
    images.check_same_grid(image, images.read_segmentation(output, LABELS))


def test_gipl_holds_no_orientation_and_comes_back_as_it_was(tmp_path: Path):
    SimpleITK.WriteImage(itk_image(numbered(), np.eye(3)), str(tmp_path / "a.gipl"))
    image = images.read_image(tmp_path / "a.gipl")
    assert np.array_equal(image.voxels[0], numbered()[:, ::-1, ::-1])  # LPS, shown as RAS
    assert image.notes == (
        "a.gipl: GIPL holds no orientation; its axes are taken to run to left, back and head",
    )
    images.write_segmentation(tmp_path / "m.gipl", mask_of(image.voxels[0]), image.geometry)
    written = SimpleITK.ReadImage(str(tmp_path / "m.gipl"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(written), mask_of(numbered()))
    assert written.GetSpacing() == (0.5, 0.75, 3.0)
    assert written.GetOrigin() == (-20.5, 35.25, 8.0)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_real_type_is_read_exactly(dtype: str, ending: str, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(itk_image(numbered(dtype=dtype), np.eye(3)), str(path))
    found = images.read_image(path, orientation="stored")
    assert np.array_equal(found.voxels[0], numbered())


@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        pytest.param(
            b"NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 5 4 3\nendian: big\n"
            b"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
            b"encoding: raw\nkey:=value: with a colon\n\n",
            ">i2",
            id="nrrd",
        ),
        pytest.param(
            b"NRRD0005\r\ntype: float\r\ndimension: 3\r\nspace: LPS\r\nsizes: 5 4 3\r\n"
            b"space directions: (1,0,0) (0,1,0) (0,0,1)\r\nspace origin: (0,0,0)\r\n"
            b"endian: little\r\nencoding: raw\r\n\r\n",
            "<f4",
            id="nrrd-of-windows",
        ),
        pytest.param(
            b"NDims = 3\nDimSize = 5 4 3\nElementType = MET_USHORT\nElementByteOrderMSB = True\n"
            b"ElementSize = 1 1 1\nOrientation = 1 0 0 0 1 0 0 0 1\nOrigin = 0 0 0\n"
            b"ElementDataFile = LOCAL\n",
            ">u2",
            id="mha",
        ),
    ],
)
def test_unusual_headers_are_understood(header: bytes, voxels: str, tmp_path: Path):
    path = tmp_path / ("a.nrrd" if header.startswith(b"NRRD") else "a.mha")
    path.write_bytes(header + numbered(dtype=voxels).tobytes())
    image = images.read_image(path, orientation="stored")
    assert np.array_equal(image.voxels[0], numbered())
    assert np.diag(np.array(image.geometry.file_affine)).tolist() == [-1, -1, 1, 1]


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_vectors_and_volumes_are_channels(ending: str, tmp_path: Path):
    channels = numbered((2, 3, 4, 5))
    vectors = SimpleITK.GetImageFromArray(np.moveaxis(channels, 0, -1), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / f"vectors{ending}"))
    volumes = SimpleITK.GetImageFromArray(channels, isVector=False)
    SimpleITK.WriteImage(volumes, str(tmp_path / f"volumes{ending}"))
    for path in tmp_path.iterdir():
        if path.name == "volumes.nrrd":  # SimpleITK writes no anatomical space for 4 axes
            text = path.read_bytes().replace(b"space dimension: 4", b"space: LPST")
            path.write_bytes(text)
        image = images.read_image(path, orientation="stored")
        assert np.array_equal(image.voxels, channels), path.name
        with pytest.raises(GeometryError, match="holds 2 volumes"):
            images.read_segmentation(path, LABELS)


@pytest.mark.parametrize("position", [0, 1, 3])
def test_the_channels_of_an_nrrd_may_lie_along_any_axis(position: int, tmp_path: Path):
    sizes, vectors = ["5", "4", "3"], ["(1,0,0)", "(0,1,0)", "(0,0,1)"]
    kinds = ["domain"] * 3
    for values, value in ((sizes, "2"), (vectors, "none"), (kinds, "list")):
        values.insert(position, value)
    header = (
        "NRRD0004\ntype: float\ndimension: 4\nspace: LPS\nendian: little\nencoding: gzip\n"
        f"sizes: {' '.join(sizes)}\nspace directions: {' '.join(vectors)}\n"
        f"kinds: {' '.join(kinds)}\nspace origin: (0,0,0)\n\n"
    )
    stored = np.moveaxis(numbered((2, 3, 4, 5)), 0, 3 - position)  # slowest axis first
    (tmp_path / "a.nrrd").write_bytes(header.encode() + gzip.compress(stored.tobytes()))
    image = images.read_image(tmp_path / "a.nrrd", orientation="stored")
    assert np.array_equal(image.voxels, numbered((2, 3, 4, 5)))
    assert np.array_equal(
        np.moveaxis(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "a.nrrd")), -1, 0),
        numbered((2, 3, 4, 5)),
    )


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_flat_volume_is_one_slice(ending: str, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    flat = SimpleITK.GetImageFromArray(numbered((4, 6)))
    flat.SetSpacing((0.5, 0.75))
    SimpleITK.WriteImage(flat, str(path))
    image = images.read_image(path, orientation="stored")
    assert image.voxels.shape == (1, 1, 4, 6)
    assert np.array_equal(image.voxels[0, 0], numbered((4, 6)))
    assert image.geometry.spacing == (1.0, 0.75, 0.5)
    assert image.notes == (f"a{ending}: 2D image taken as one slice",)


def test_the_digest_covers_the_file_of_the_voxels(tmp_path: Path):
    for packed in (False, True):
        path = tmp_path / f"{packed}.mhd"
        SimpleITK.WriteImage(itk_image(numbered(), np.eye(3)), str(path), useCompression=packed)
        data = path.read_bytes() + path.with_suffix(".zraw" if packed else ".raw").read_bytes()
        expected = hashlib.sha256(data).hexdigest()
        assert images.read_image(path).digests == (expected,)
        assert stored_digest(path) == expected


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".gipl", ".tif", ".png", ".bmp"])
def test_equal_masks_have_equal_bytes(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shape = (4, 5) if ending in (".png", ".bmp") else (3, 4, 5)
    path = tmp_path / f"a{ending}"
    if len(shape) == 2:
        PillowImage.fromarray(numbered(shape, "u1")).save(path)
    elif ending == ".tif":
        tifffile.imwrite(path, numbered(shape, "u1"), photometric="minisblack")
    else:
        SimpleITK.WriteImage(itk_image(numbered(shape), np.eye(3)), str(path))
    image = images.read_image(path)
    mask = mask_of(image.voxels[0])
    first = images.encode_segmentation(path, mask, image.geometry)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert images.encode_segmentation(path, mask, image.geometry) == first


@pytest.mark.parametrize("ending", [".gipl", ".tif"])
def test_a_format_without_orientation_refuses_an_oblique_grid(ending: str, tmp_path: Path):
    SimpleITK.WriteImage(itk_image(numbered(), OBLIQUE), str(tmp_path / "a.mha"))
    image = images.read_image(tmp_path / "a.mha")
    with pytest.raises(GeometryError, match=rf"m\{ending}: .*cannot hold this grid") as caught:
        images.write_segmentation(tmp_path / f"m{ending}", mask_of(image.voxels[0]), image.geometry)
    assert caught.value.rule == "E-GEO-25"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mha"]


def grid(direction: np.ndarray, origin: tuple[float, ...] = (-20.5, 35.25, 8.0)) -> Geometry:
    """A grid of edges of 0.5, 0.75 and 3 mm along the file's axes, whose directions are in RAS+."""
    affine = np.eye(4)
    affine[:3, :3] = direction * (0.5, 0.75, 3.0)
    affine[:3, 3] = origin
    return Geometry(
        file_shape=(5, 4, 3),
        file_affine=tuple(tuple(row) for row in affine.tolist()),
        file_axes=(2, 1, 0),
        reversed_axes=(False, False, False),
    )


LPS = np.diag([-1.0, -1, 1])
STACKED = np.fliplr(np.eye(3))  # the pages of a stack are its first axis, and run along z


@pytest.mark.parametrize(
    ("geometry", "endings"),
    [
        pytest.param(grid(LPS), (".gipl",), id="lps"),
        pytest.param(grid(np.eye(3)), (), id="ras"),
        pytest.param(grid(OBLIQUE), (), id="oblique"),
        pytest.param(grid(LEFT_HANDED), (), id="left-handed"),
        pytest.param(grid(STACKED, (0, 0, 0)), (".tif", ".tiff"), id="stack"),
        pytest.param(grid(STACKED, (0, 0, 1)), (), id="stack-elsewhere"),
    ],
)
def test_what_a_format_can_hold_is_what_it_writes(
    geometry: Geometry, endings: tuple[str, ...], tmp_path: Path
):
    for ending in guard.FILE_ENDINGS:
        path = tmp_path / f"m{ending}"
        if ending in (".nii.gz", ".nii", *VOLUMES, *endings):
            formats.check_holds(geometry, ending, "case 'a'")
            images.encode_segmentation(path, mask_of(numbered()), geometry)
            continue
        says = "3 axes cannot be" if ending in (".png", ".bmp") else r"\.\w+ cannot hold this grid"
        with pytest.raises(GeometryError, match=f"^case 'a': .*{says}") as caught:
            formats.check_holds(geometry, ending, "case 'a'")
        assert caught.value.rule == "E-GEO-25"
        with pytest.raises(GeometryError, match=says):
            images.encode_segmentation(path, mask_of(numbered()), geometry)


def test_a_picture_goes_into_pictures_only(tmp_path: Path):
    PillowImage.fromarray(numbered((4, 5), "u1")).save(tmp_path / "a.png")
    geometry = images.read_image(tmp_path / "a.png").geometry
    for ending in guard.FILE_ENDINGS:
        if ending in (".png", ".bmp", ".tif", ".tiff"):
            formats.check_holds(geometry, ending, "a")
        else:
            with pytest.raises(GeometryError, match=f"2 axes cannot .* ending with '{ending}'; 2"):
                formats.check_holds(geometry, ending, "a")


# TIFF


@pytest.mark.parametrize("name", ["case.tif", "case_0000.tiff"])
def test_a_stack_takes_its_spacing_from_the_sidecar(name: str, tmp_path: Path):
    tifffile.imwrite(tmp_path / name, numbered(dtype="u2"), photometric="minisblack")
    plain = images.read_image(tmp_path / name)
    assert plain.geometry.spacing == (1.0, 1.0, 1.0)
    assert plain.notes == (
        f"{name}: no sidecar gives the spacing of the stack, taken as 1 x 1 x 1 mm",
    )
    (tmp_path / "case.json").write_text('{"spacing": [3, 0.75, 0.5]}')
    image = images.read_image(tmp_path / name)
    assert np.array_equal(image.voxels[0], numbered())
    assert image.geometry.spacing == (3.0, 0.75, 0.5)
    # The voxel of page 2, row 3 and column 4: x = 4 * 0.5, y = 3 * 0.75, z = 2 * 3.
    assert (image.geometry.affine @ [2, 3, 4, 1]).tolist() == [2.0, 2.25, 6.0, 1.0]
    assert image.notes == ()
    content = (tmp_path / name).read_bytes() + (tmp_path / "case.json").read_bytes()
    assert image.digests == (hashlib.sha256(content).hexdigest(),)
    assert image.digests == (stored_digest(tmp_path / name),)
    assert image.digests != plain.digests


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 3), (3, 5, 4), (1, 4, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_stack_is_written_with_its_sidecar(dtype: type, shape: tuple[int, ...], tmp_path: Path):
    tifffile.imwrite(tmp_path / "a_0000.tif", numbered(shape), photometric="minisblack")
    (tmp_path / "a.json").write_text('{"spacing": [3, 0.75, 0.1]}')
    image = images.read_image(tmp_path / "a_0000.tif")
    mask = mask_of(image.voxels[0]).astype(dtype)
    images.write_segmentation(tmp_path / "out" / "a.tif", mask, image.geometry)
    segmentation = images.read_segmentation(tmp_path / "out" / "a.tif", LABELS)
    assert np.array_equal(segmentation.voxels, mask)
    assert segmentation.geometry == image.geometry
    assert np.array_equal(
        tifffile.imread(tmp_path / "out" / "a.tif").reshape(shape), mask_of(numbered(shape))
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.tif"]


def test_the_sidecar_of_a_segmentation_is_offered_to_others(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", numbered(), photometric="minisblack")
    geometry = images.read_image(tmp_path / "a.tif").geometry
    path, data = formats.sidecar_of(tmp_path / "b.tif", geometry) or (Path(), b"")
    assert path == tmp_path / "b.json"
    assert data.split() == b'{ "spacing": [ 1.0, 1.0, 1.0 ] }'.split()
    assert formats.sidecar_of(tmp_path / "b.nrrd", geometry) is None


@pytest.mark.parametrize(
    ("text", "kind", "rule", "says"),
    [
        ('{"spacing": [1, 1, 1], "unit": "mm"}', DocumentError, "E-SET-46", "unit"),
        ('{"spacing": [1, 1]}', DocumentError, "E-SET-46", "spacing"),
        ('{"spacing": [1, 1, "1"]}', DocumentError, "E-SET-46", r"spacing\.2"),
        ('{"spacing": [1, NaN, 1]}', DocumentError, "E-SET-46", "NaN"),
        ('{"spacing": [1, 0, 1]}', DocumentError, "E-GEO-17", r"\(1\.0, 0\.0, 1\.0\)"),
        ('{"spacing": [1, -2, 1]}', DocumentError, "E-GEO-17", r"\(1\.0, -2\.0, 1\.0\)"),
        ('{"spacing": [1, 2000, 1]}', GeometryError, "E-GEO-19", r"ratio of 2e\+03"),
        ("[" * 70000, ImageFileError, "E-FILE-06", "more than 65536 bytes"),
    ],
)
def test_a_wrong_sidecar_is_refused(
    text: str, kind: type[Exception], rule: str, says: str, tmp_path: Path
):
    tifffile.imwrite(tmp_path / "a.tif", numbered(), photometric="minisblack")
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(kind, match=says) as caught:
        images.read_image(tmp_path / "a.tif")
    assert caught.value.rule == rule  # type: ignore[attr-defined]
    assert str(tmp_path / "a.") in str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("packing", ["raw", "tiff_deflate", "tiff_lzw", "packbits"])
def test_every_allowed_compression_of_tiff_is_read(packing: str, dtype: str, tmp_path: Path):
    pages = [PillowImage.fromarray(page) for page in numbered((3, 40, 5), dtype)]
    pages[0].save(tmp_path / "a.tif", compression=packing, save_all=True, append_images=pages[1:])
    image = images.read_image(tmp_path / "a.tif")
    assert np.array_equal(image.voxels[0], numbered((3, 40, 5), dtype))


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", ">u2", ">f4", "f8"])
@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 2}, {"bigtiff": True}]
)
def test_every_type_and_layout_of_tiff_is_read(
    options: dict[str, object], dtype: str, tmp_path: Path
):
    with tifffile.TiffWriter(
        tmp_path / "a.tif",
        byteorder=dtype[0] if dtype[0] == ">" else "<",
        bigtiff=bool(options.pop("bigtiff", False)),
    ) as writer:
        for page in numbered((2, 9, 7), dtype):
            writer.write(page, photometric="minisblack", contiguous=False, **options)
    image = images.read_image(tmp_path / "a.tif")
    assert np.array_equal(image.voxels[0], numbered((2, 9, 7)))


# Pictures


@pytest.mark.parametrize(
    ("ending", "channels"), [(".png", 3), (".png", 4), (".bmp", 3), (".tif", 3), (".tif", 4)]
)
def test_colors_are_channels(ending: str, channels: int, tmp_path: Path):
    pixels = numbered((4, 5, channels), "u1")
    path = tmp_path / f"a{ending}"
    if ending == ".tif":
        tifffile.imwrite(
            path, pixels, photometric="rgb", extrasamples=["unassalpha"][channels == 3 :]
        )
    else:
        PillowImage.fromarray(pixels).save(path)
    image = images.read_image(path)
    assert np.array_equal(image.voxels, pixels.transpose(2, 0, 1))
    assert image.geometry.shape == (4, 5)
    with pytest.raises(VoxelError, match=f"holds {channels} color channels") as caught:
        images.read_segmentation(path, LABELS)
    assert caught.value.rule == "E-VAL-30"


def test_the_alpha_of_a_bmp_is_a_channel_where_its_header_says_so(tmp_path: Path):
    pixels = numbered((4, 5, 4), "u1")
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)  # R, G, B and alpha in order
    header = struct.pack("<I2i2H6I", 56, 5, -4, 1, 32, 3, pixels.size, 0, 0, 0, 0) + masks
    start = b"BM" + struct.pack("<3I", 70 + pixels.size, 0, 70)
    (tmp_path / "a.bmp").write_bytes(start + header + pixels.tobytes())
    image = images.read_image(tmp_path / "a.bmp")
    assert np.array_equal(image.voxels, pixels.transpose(2, 0, 1))


def test_the_planes_of_a_tiff_are_channels_too(tmp_path: Path):
    planes = numbered((3, 4, 5), "u2")
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(images.read_image(tmp_path / "a.tif").voxels, planes)


@pytest.mark.parametrize(
    ("ending", "dtype"), list(itertools.product([".png", ".bmp", ".tif", ".tiff"], ["u1", "u2"]))
)
def test_a_grey_picture_comes_back_as_it_was_written(ending: str, dtype: str, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    if ending.startswith(".tif"):
        tifffile.imwrite(path, numbered((4, 5), dtype), photometric="minisblack")
    else:
        PillowImage.fromarray(numbered((4, 5), "u1")).save(path)
    image = images.read_image(path)
    assert np.array_equal(image.voxels, numbered((1, 4, 5)))
    assert (image.geometry.shape, image.geometry.spacing) == ((4, 5), (1.0, 1.0))
    mask = mask_of(image.voxels[0] + 10).astype(dtype)
    images.write_segmentation(tmp_path / f"m{ending}", mask, image.geometry)
    segmentation = images.read_segmentation(tmp_path / f"m{ending}", LABELS)
    assert np.array_equal(segmentation.voxels, mask)
    assert segmentation.geometry == image.geometry
    assert not (tmp_path / "m.json").exists()


def test_a_bmp_of_one_bit_and_one_of_greys_keep_their_values(tmp_path: Path):
    bits = numbered((4, 5)) % 3 == 0
    PillowImage.fromarray(bits).save(tmp_path / "bits.bmp")
    assert np.array_equal(images.read_image(tmp_path / "bits.bmp").voxels[0], bits)
    grey = PillowImage.fromarray(numbered((4, 5), "u1"))
    grey.putpalette([level for level in range(256) for _ in "rgb"])
    grey.save(tmp_path / "grey.bmp")
    assert np.array_equal(images.read_image(tmp_path / "grey.bmp").voxels[0], numbered((4, 5)))


def test_a_bmp_holds_no_label_above_255(tmp_path: Path):
    PillowImage.fromarray(numbered((4, 5), "u1")).save(tmp_path / "a.bmp")
    geometry = images.read_image(tmp_path / "a.bmp").geometry
    with pytest.raises(VoxelError, match=r"m\.bmp: .*label 300, allowed are 0 to 255") as caught:
        images.encode_segmentation(tmp_path / "m.bmp", np.full((4, 5), 300, np.uint16), geometry)
    assert caught.value.rule == "E-VAL-35"
