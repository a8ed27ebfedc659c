from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.data.mnist import DataSet
from models.errors import InvalidImage
from service.errors import MalformedBody, UnsupportedMediaType
from service.inference.image_decoding import read_files, read_unwrapped, unwrap
from service.inference.images import Pixels, ReadImages, Scale
from service.inference.pictures import encode_png
from service.inference.query import PredictQuery


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def digit(few: DataSet) -> Pixels:
    chosen: Pixels = few.test.images[3]
    return chosen


def read(
    content: bytes, media_type: str = "", *, fit: bool = False, scale: Scale = "auto", shape: str | None = None
) -> ReadImages:
    return read_unwrapped(unwrap(content, media_type, PredictQuery(fit=fit, scale=scale, shape=shape)))


def test_png_raw_and_json_give_the_same_pixels(digit: Pixels) -> None:
    forms = {
        "png": (encode_png(digit), "image/png"),
        "raw": (digit.tobytes(), "application/octet-stream"),
        "json": (json.dumps(digit.tolist()).encode(), "application/json"),
    }
    for form, (content, media_type) in forms.items():
        for declared in (media_type, "", "application/x-www-form-urlencoded"):
            found = read(content, declared)
            assert np.array_equal(found.images, digit[None]), form
            assert (found.form, found.scale, found.batch) == (form, "0-255", False)


def test_a_long_string_among_numbers_costs_nothing() -> None:
    content = json.dumps([["x" * 20_000] + [0] * 15_000]).encode()
    tracemalloc.start()
    with pytest.raises(InvalidImage, match="full grid"):
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_form_full_of_large_pictures_is_refused_before_it_fills_the_memory() -> None:
    large = encoded(Image.new("1", (4096, 4096)), "PNG")
    tracemalloc.start()
    with pytest.raises(InvalidImage, match="4096x4096"):
        read_files([(large, "image/png")] * 500, fit=False)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    inked = Image.new("L", (4096, 4096))
    inked.paste(255, (100, 100, 200, 300))
    with pytest.raises(InvalidImage, match="100,000,000 pixels together"):
        read_files([(encoded(inked, "PNG"), "image/png")] * 7, fit=True)


def test_damaged_pictures_are_refused_and_nothing_worse(digit: Pixels) -> None:
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffers = [encode_png(digit), encoded(Image.fromarray(digit), "JPEG", exif=exif.tobytes())]
    refused = 0
    for number in range(600):
        damaged = bytearray(buffers[number % 2])
        for _ in range(random.integers(1, 6)):
            damaged[random.integers(8, len(damaged))] = random.integers(0, 256)
        try:
            read(bytes(damaged), ("image/png", "image/jpeg")[number % 2])
        except InvalidImage:
            refused += 1
    assert refused > 200


def test_a_png_of_any_length_is_a_picture(digit: Pixels) -> None:
    whole = encode_png(digit)
    filling = b"tEXt" + b"k\0" + b"v" * (784 * 4 - len(whole) - 14)
    chunk = struct.pack(">I", len(filling) - 4) + filling + struct.pack(">I", zlib.crc32(filling))
    longer = whole[:-12] + chunk + whole[-12:]
    assert len(longer) % 784 == 0
    assert read(longer, "application/octet-stream").form == "png"


def test_a_picture_declared_as_mere_bytes_is_read_as_a_picture(digit: Pixels) -> None:
    assert read(encode_png(digit), "application/octet-stream").form == "png"
    assert read(b"\xff\xd8\xff" + bytes(781), "application/octet-stream").form == "raw"


def test_jpeg_is_read_within_its_loss(digit: Pixels) -> None:
    found = read(encoded(Image.fromarray(digit), "JPEG", quality=95), "image/jpeg")
    assert found.form == "jpeg"
    assert np.abs(found.images[0].astype(int) - digit).mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    square = np.zeros((28, 28), np.uint8)
    square[10:18, 10:18] = 255
    if mode == "I;16":
        picture = Image.fromarray(square.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(square).convert(mode)
    assert np.array_equal(read(encoded(picture, "PNG")).images[0], square)


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_pixels_count_as_the_opposite_of_ink(ink: int) -> None:
    drawn = np.zeros((28, 28, 2), np.uint8)
    drawn[10:18, 10:18] = (ink, 255)
    found = read(encoded(Image.fromarray(drawn, "LA"), "PNG")).images[0]
    assert found[14, 14] == ink
    assert found[0, 0] == 255 - ink


def test_several_images_in_one_body_are_a_batch(few: DataSet) -> None:
    three = few.test.images[:3]
    for content, media_type in (
        (json.dumps(three.tolist()).encode(), "application/json"),
        (json.dumps(three.reshape(3, 784).tolist()).encode(), "application/json"),
        (json.dumps({"images": three.tolist()}).encode(), "application/json"),
    ):
        found = read(content, media_type)
        assert found.batch
        assert np.array_equal(found.images, three)


def test_files_of_a_form_are_one_image_or_a_batch(few: DataSet) -> None:
    files = [(encode_png(image), "image/png") for image in few.test.images[:2]]
    assert np.array_equal(read_files(files, fit=False).images, few.test.images[:2])
    assert not read_files(files[:1], fit=False).batch
    raw = (few.test.images[0].tobytes(), "application/octet-stream")
    assert np.array_equal(read_files([raw], fit=False).images[0], few.test.images[0])


def test_fractions_up_to_one_are_shares_of_ink(digit: Pixels) -> None:
    found = read(json.dumps((digit / 255).tolist()).encode())
    assert found.scale == "0-1"
    assert np.array_equal(found.images[0], digit)


def test_numbers_above_one_are_grey_levels_even_with_fractions(digit: Pixels) -> None:
    found = read(json.dumps((digit + 0.25).clip(0, 255).tolist()).encode())
    assert found.scale == "0-255"
    assert np.array_equal(found.images[0], digit)


def test_only_zeros_and_ones_are_ambiguous_unless_the_caller_says(digit: Pixels) -> None:
    content = json.dumps((digit > 127).astype(int).tolist()).encode()
    with pytest.raises(InvalidImage, match=r"\?scale=1 if 1 is full ink"):
        read(content)
    assert read(content, scale="1").images.max() == 255
    assert read(content, scale="255").images.max() == 1
    assert read(json.dumps(np.zeros((28, 28), int).tolist()).encode()).images.max() == 0


def test_the_rule_looks_at_a_batch_as_a_whole(digit: Pixels) -> None:
    batch = np.stack([digit / 255, (digit > 127).astype(float)])
    assert read(json.dumps(batch.tolist()).encode()).scale == "0-1"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", InvalidImage, "empty"),
        (b"[[1,2],[3,4]]", InvalidImage, "2x2, not 28x28"),
        (b"[[1,2],[3]]", InvalidImage, "full grid"),
        (b'[["a"]]', InvalidImage, "full grid"),
        (b"[[true]]", InvalidImage, "full grid"),
        (b"[]", InvalidImage, "full grid"),
        (b"{}", InvalidImage, "no pixels"),
        (b"[NaN]", MalformedBody, "not JSON"),
        (b"[1e999]", MalformedBody, "not JSON"),
        (b'{"pixels": [', MalformedBody, "not JSON"),
        (json.dumps([[256] * 28] * 28).encode(), InvalidImage, "must be in 0..255"),
        (json.dumps([[-1] * 28] * 28).encode(), InvalidImage, "must be in 0..255"),
        (b"x" * 783, InvalidImage, "783 raw bytes are not one digit"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, InvalidImage, "PNG cannot be read"),
    ],
)
def test_what_is_no_image_is_refused_with_the_cause(content: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read(content)


def test_a_png_that_is_cut_off_is_refused(digit: Pixels) -> None:
    whole = encode_png(digit)
    for length in (len(whole) // 2, len(whole) - 20, 30):
        with pytest.raises(InvalidImage, match="damaged, cut off"):
            read(whole[:length])


def test_another_size_is_refused_with_the_hint_and_read_with_fit(digit: Pixels) -> None:
    large = encode_png(np.asarray(Image.fromarray(255 - digit).resize((100, 90))))
    with pytest.raises(InvalidImage, match=r"100x90 pixels, the network reads 28x28\. .*\?fit=true"):
        read(large)
    found = read(large, fit=True)
    assert found.fitted
    assert found.inverted == (True,)
    assert found.images.shape == (1, 28, 28)


def test_fit_reads_json_of_any_size_and_raw_bytes(digit: Pixels) -> None:
    large = np.asarray(Image.fromarray(digit).resize((50, 50)))
    assert read(json.dumps(large.tolist()).encode(), fit=True).fitted
    assert read(digit.tobytes(), fit=True).fitted


@pytest.mark.parametrize("side", [5000, 20_000, 60_000])
def test_an_image_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    header = encoded(Image.new("1", (8, 8)), "PNG")
    sizes = struct.pack(">II", side, side)
    chunk = b"IHDR" + sizes + header[24:29]
    bomb = header[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + header[33:]
    with pytest.raises(InvalidImage, match=r"megapixels|damaged"):
        read(bomb, fit=True)


@pytest.mark.parametrize("media_type", ["text/plain", "image/gif", "image/heic", "application/xml"])
def test_other_media_types_are_named_and_refused(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=media_type):
        read(b"content", media_type)


def test_too_many_images_are_refused() -> None:
    with pytest.raises(InvalidImage, match="more than 10000"):
        read(bytes(784 * 10_001), "application/octet-stream", shape="10001,28,28")


def test_a_form_without_files_and_json_as_a_file_are_refused() -> None:
    with pytest.raises(InvalidImage, match="no file"):
        read_files([], fit=False)
    with pytest.raises(UnsupportedMediaType, match="not JSON"):
        read_files([(b"[]", "application/json")], fit=False)
