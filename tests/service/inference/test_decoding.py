"""Large pictures are read in little memory, and not too many at a time."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidImage
from service.errors import Unavailable
from service.inference.decoding import Decoding, cost_of
from service.inference.image_decoding import read_unwrapped, unwrap
from service.inference.images import ReadImages
from service.inference.picture_headers import (
    AVIF_BYTES,
    BYTES_A_PIXEL,
    BYTES_A_REDUCED_PIXEL,
    BYTES_A_WEBP_PIXEL,
    MAX_PICTURE_PIXELS,
    decoding_bytes,
)
from service.inference.query import PredictQuery
from tests.service.conftest import Bench

MIB = 2**20


def picture(mode: str, side: int, form: str = "PNG", *, ground: int = 255, ink: int = 0) -> bytes:
    """Return a picture of a thick 7, in bytes of a file."""
    grey = Image.new("L", (side, side), ground)
    unit = side // 28
    grey.paste(ink, (8 * unit, 6 * unit, 20 * unit, 9 * unit))
    grey.paste(ink, (16 * unit, 6 * unit, 19 * unit, 22 * unit))
    if mode == "RGBA":
        alpha = grey.point(lambda level: 255 if level == ink else 0)
        made = Image.merge("RGBA", (grey, grey, grey, alpha))
    elif mode == "I;16":
        made = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        made = grey.convert(mode)
    buffer = io.BytesIO()
    made.save(buffer, form)
    return buffer.getvalue()


def read(content: bytes, *, fit: bool) -> ReadImages:
    return read_unwrapped(unwrap(content, "", PredictQuery(fit=fit)))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
@pytest.mark.parametrize("side", [560, 2240])
def test_a_large_picture_is_read_as_a_small_one(mode: str, side: int) -> None:
    small = read(picture("L", 280), fit=True)
    large = read(picture(mode, side), fit=True)
    difference = np.abs(small.images[0].astype(int) - large.images[0].astype(int))
    assert difference.mean() < 4
    assert large.inverted == small.inverted == (True,)


def test_a_large_jpeg_is_decoded_at_a_smaller_size() -> None:
    small = read(picture("L", 280), fit=True)
    large = read(picture("RGB", 4032, "JPEG"), fit=True)
    assert np.abs(small.images[0].astype(int) - large.images[0].astype(int)).mean() < 6


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_sixteen_million_pixels_cost_less_than_their_channels_and_a_little(mode: str) -> None:
    content = picture(mode, 4096)
    assert len(content) < MIB
    tracemalloc.start()  # sees what NumPy and Python allocate; Pillow keeps the picture itself, of 16 to 64 MiB
    read(content, fit=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * MIB


def test_an_array_of_bytes_is_read_without_a_copy_in_double_precision() -> None:
    file = io.BytesIO()
    np.save(file, np.full((10_000, 28, 28), 7, np.uint8))
    tracemalloc.start()
    found = read(file.getvalue(), fit=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.images == 7).all()
    assert peak < 5 * 7_840_000


def test_the_cost_is_that_of_the_pixels_in_the_header_or_of_the_bytes() -> None:
    content = picture("L", 2800)
    assert cost_of(content) >= BYTES_A_PIXEL * 2800 * 2800
    assert cost_of(content[:60]) >= BYTES_A_PIXEL * 2800 * 2800
    assert cost_of(b"no picture") == 40


def test_beyond_the_budget_a_body_is_refused_and_afterwards_read() -> None:
    release = threading.Event()

    async def try_two() -> tuple[int, int]:
        decoding = Decoding(2, budget_bytes=1000)
        first = asyncio.ensure_future(decoding.run(lambda: release.wait(10) and 1, bytes(200)))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="decoding large pictures"):
            await decoding.run(lambda: 2, bytes(200))
        release.set()
        results = int(await first), await decoding.run(lambda: 2, bytes(10_000))  # alone, any size is read
        decoding.close()
        return results

    assert asyncio.run(try_two()) == (1, 2)


def test_a_range_of_a_checked_file_reads_only_that_part(
    bench: Bench, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.trained()
    whole = api.get(f"/models/{job_id}/weights")
    reads: list[str] = []
    original = type(bench.artifacts).read

    def read(self: object, path: str, sha256: str) -> bytes:
        reads.append(path)
        return original(self, path, sha256)  # type: ignore[arg-type]

    monkeypatch.setattr(type(bench.artifacts), "read", read)
    for first, last in ((0, 0), (5, 9), (len(whole.content) - 1, 10**9)):
        part = api.get(f"/models/{job_id}/weights", headers={"Range": f"bytes={first}-{last}"})
        assert part.status_code == 206
        assert part.content == whole.content[first : last + 1]
        assert part.headers["etag"] == whole.headers["etag"]
    assert reads == []
    row_path = next(path for path in bench.artifacts.list_below(f"jobs/{job_id}") if "000002.weights" in path)
    file = Path(bench.artifacts.where) / row_path
    file.write_bytes(b"x" * file.stat().st_size)
    assert api.get(f"/models/{job_id}/weights", headers={"Range": "bytes=0-0"}).status_code == 503
    assert len(reads) >= 1


def test_the_memory_of_a_picture_is_found_without_its_other_segments() -> None:
    jpeg = picture("RGB", 560, "JPEG")
    assert decoding_bytes(jpeg) == 560 * 560 * BYTES_A_REDUCED_PIXEL
    unknown = b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000 + jpeg[2:]
    assert decoding_bytes(unknown) == MAX_PICTURE_PIXELS * BYTES_A_PIXEL
    assert decoding_bytes(b"no picture") == decoding_bytes(b"") == 0


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_memory_of_every_format_is_that_of_the_pixels_in_its_header(form: str, mode: str) -> None:
    each = BYTES_A_WEBP_PIXEL if form == "WEBP" else BYTES_A_PIXEL
    assert decoding_bytes(picture(mode, 560, form)) == 560 * 560 * each


def test_a_lossless_webp_and_a_progressive_jpeg_cost_all_their_pixels_and_an_avif_the_most() -> None:
    for form, options, expected in (
        ("WEBP", {"lossless": True}, 300 * 200 * BYTES_A_WEBP_PIXEL),
        ("JPEG", {"progressive": True}, 300 * 200 * BYTES_A_PIXEL),
        ("AVIF", {}, AVIF_BYTES),  # its header may name another size than that of what is in it
    ):
        buffer = io.BytesIO()
        Image.new("RGB", (300, 200)).save(buffer, form, **options)
        assert decoding_bytes(buffer.getvalue()) == expected


def gif_with_a_larger_frame() -> bytes:
    content = bytearray(picture("L", 56, "GIF"))
    content[6:10] = struct.pack("<HH", 1, 1)
    return bytes(content)


def png_with_a_chunk_before_its_header() -> bytes:
    content, chunk = picture("L", 56), b"teSt" + struct.pack(">II", 1, 1)
    return content[:8] + struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[8:]


def jpeg_with_a_marker_before_a_false_frame() -> bytes:
    false_frame = b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01\x01\x11\x00"
    comment = b"\xff\xfe" + struct.pack(">H", len(false_frame) + 2) + false_frame
    return b"\xff\xd8\xff\xd0" + comment + picture("L", 56, "JPEG")[2:]


@pytest.mark.parametrize(
    "make", [gif_with_a_larger_frame, png_with_a_chunk_before_its_header, jpeg_with_a_marker_before_a_false_frame]
)
def test_a_header_that_names_another_size_makes_no_picture_cheap(make: Callable[[], bytes]) -> None:
    assert decoding_bytes(make()) >= 56 * 56 * BYTES_A_PIXEL


def test_a_jpeg_of_more_scans_than_encoders_make_is_refused() -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture("L", 280))).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    bomb = content[:-2] + content[last:-2] * 200 + content[-2:]
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        read(bomb, fit=True)
    assert read(content, fit=True).fitted
