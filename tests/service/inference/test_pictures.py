"""Pictures of every format, by their bytes: transparency, deep pixels, and what is refused by name."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from models.data.mnist import DataSet
from models.errors import InvalidImage
from service.errors import UnsupportedMediaType
from service.inference.image_decoding import from_base64, read_unwrapped, unwrap
from service.inference.images import Form, Pixels, ReadImages
from service.inference.picture_headers import MAX_JPEG_PIXELS, MAX_PICTURE_PIXELS
from service.inference.pictures import decode_picture, encode_png
from service.inference.query import PredictQuery


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def read(content: bytes, media_type: str = "", **options: object) -> ReadImages:
    return read_unwrapped(unwrap(content, media_type, PredictQuery.model_validate(options)))


@pytest.fixture
def digit(few: DataSet) -> Pixels:
    chosen: Pixels = few.test.images[3]
    return chosen


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "avif", "bmp", "gif"])
@pytest.mark.parametrize(
    "declared", ["", "image/png", "image/jpg", "image/pjpeg", "image/x-png", "image/*", "application/octet-stream"]
)
def test_a_picture_is_read_by_its_bytes_whatever_is_declared(form: Form, declared: str, digit: Pixels) -> None:
    found = read(encoded(Image.fromarray(digit), form), declared)
    assert found.form == form
    assert np.abs(found.images[0].astype(int) - digit).mean() < 8  # some formats lose a little


def test_of_an_animation_the_first_frame_is_read(digit: Pixels) -> None:
    buffer = io.BytesIO()
    Image.fromarray(digit).save(buffer, "GIF", save_all=True, append_images=[Image.fromarray(255 - digit)])
    assert np.abs(read(buffer.getvalue()).images[0].astype(int) - digit).mean() < 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(900), "HEIC"),
        (b"II*\0" + bytes(900), "TIFF"),
        (b"MM\0*" + bytes(900), "TIFF"),
        (b"<svg></svg>", "declared as image/svg"),
    ],
)
def test_formats_that_are_not_read_are_named(content: bytes, says: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=says):
        read(content, "image/svg+xml")


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_png_of_16_bits_may_use_fewer(bits: int, digit: Pixels) -> None:
    deep = (digit.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    found = decode_picture(encoded(Image.fromarray(deep), "PNG"), "png", fit=False)
    assert np.abs(found.astype(int) - digit).max() <= 1


def window(corner: int, paper: int, ink: int) -> bytes:
    """Return a card with a digit-like bar on a transparent ground of some colour."""
    field = np.zeros((100, 100, 4), np.uint8)
    field[..., :3] = corner
    field[15:85, 15:85, :3], field[15:85, 15:85, 3] = paper, 255
    field[30:70, 46:54, :3] = ink
    return encoded(Image.fromarray(field, "RGBA"), "PNG")


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (20, 240)])
def test_transparency_around_paper_is_paper(paper: int, ink: int) -> None:
    for corner in (0, 255):
        grey = decode_picture(window(corner, paper, ink), "png", fit=True)
        assert grey[2, 2] == paper
        assert grey[50, 50] == ink


def test_a_jpeg_of_50_megapixels_is_read_and_others_of_24() -> None:
    def bar(width: int, height: int) -> Image.Image:
        picture = Image.new("L", (width, height), 255)
        picture.paste(0, (width // 2, height // 4, width * 11 // 20, height * 3 // 4))
        return picture

    assert read(encoded(bar(8000, 6200), "JPEG"), fit=True).fitted
    assert read(encoded(bar(4608, 3456), "JPEG"), fit=True).fitted
    assert read(encoded(bar(6000, 3900), "PNG"), fit=True).fitted
    for picture, form, most in (
        (bar(8000, 6300), "JPEG", MAX_JPEG_PIXELS),
        (bar(6000, 4100), "PNG", MAX_PICTURE_PIXELS),
    ):
        with pytest.raises(InvalidImage, match=f"more than {most // 1_000_000} megapixels"):
            read(encoded(picture, form), fit=True)


def test_base64_is_read_as_libraries_write_it(digit: Pixels) -> None:
    png = encode_png(digit) + b"\xfb\xff\xfe"  # bytes that the URL alphabet writes in another way
    plain = base64.b64encode(png).decode()
    lines = base64.encodebytes(png).decode()
    for_urls = base64.urlsafe_b64encode(png).decode()
    assert "-" in for_urls or "_" in for_urls
    for text in (
        plain,
        lines,
        lines.replace("\n", "\r\n"),
        for_urls,
        plain.rstrip("="),
        f"data:image/png;base64,{lines}",
    ):
        assert from_base64(text) == png
    wrapped = json.dumps({"image": base64.encodebytes(encode_png(digit)).decode()}).encode()
    assert np.array_equal(read(wrapped).images[0], digit)


@pytest.mark.parametrize(
    ("text", "says"), [("!!!", "not base64"), ("", "empty"), ("data:image/png,abc", "data URL is not in base64")]
)
def test_what_is_no_base64_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidImage, match=says):
        from_base64(text)


@pytest.mark.parametrize("side", [300, 700])
def test_a_picture_with_odd_exif_is_turned_as_it_says(side: int) -> None:
    def read_turned(orientation: int) -> Pixels:
        picture = Image.new("L", (side, side), 255)
        picture.paste(0, (side // 4, side // 8, side // 3, side // 2))
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", exif=exif.tobytes())
        return decode_picture(buffer.getvalue(), "jpeg", fit=True)

    upright, turned = read_turned(1), read_turned(3)
    assert np.abs(upright[::-1, ::-1].astype(int) - turned).mean() < 2


def test_a_large_picture_with_a_damaged_exif_tag_is_read() -> None:
    picture = Image.new("L", (600, 600), 255)
    picture.paste(0, (100, 100, 200, 400))
    entry = b"\x31\x01\x0b\x00\x01\x00\x00\x00\x00\x00\x80\x3f"  # Software, which is a text, as a float
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    assert read(buffer.getvalue(), fit=True).fitted
