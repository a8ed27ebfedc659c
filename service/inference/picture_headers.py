"""Look at the first bytes of a body: which format it has, and how much memory a picture needs when it is decoded."""

from __future__ import annotations

from models.errors import InvalidImage
from service.errors import UnsupportedMediaType
from service.inference.images import Form

PNG, PNG_HEADER_BYTES = b"\x89PNG\r\n\x1a\n", 24
JPEG, MAX_SEGMENTS = b"\xff\xd8\xff", 100
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG's frame header, which has the size."""

WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01, 0xFF}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
SCAN, MAX_SCANS = b"\xff\xda", 100
"""A progressive JPEG is decoded once for each of its scans; encoders make about ten."""

MAX_JPEG_PIXELS = 50_000_000
MAX_PICTURE_PIXELS = 24_000_000
"""Of the formats that are decoded at full size: all others, and progressive JPEG."""

BYTES_A_PIXEL = 6
"""Of a picture while it is decoded: up to four channels, and its grey levels; of JPEG the coefficients."""

BYTES_A_WEBP_PIXEL = 16
BYTES_A_REDUCED_PIXEL = 1
"""Of a JPEG that is decoded at an eighth to half of its size, a few rows at a time."""

AVIF_BYTES = 2**28
"""Of any AVIF: its decoder scales what is in the file to the size in its header, which may be another."""

IMAGE_DESCRIPTOR, EXTENSION = 0x2C, 0x21
MAX_BLOCKS = 1000
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
SIGNATURES: dict[bytes, Form] = {
    PNG: "png",
    JPEG: "jpeg",
    b"\x93NUMPY": "npy",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
}


def picture_form(content: bytes) -> Form | None:
    """Return the format that a body begins like, if any. Raises `UnsupportedMediaType` for HEIC and TIFF."""
    for signature, form in SIGNATURES.items():
        if content.startswith(signature):
            return form
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:2] == b"BM" and len(content) >= 26 and _little(content, 2, 4) == len(content):
        return "bmp"
    if content[4:8] == b"ftyp":
        return _form_of_brands(content[8 : min(64, _big(content, 0, 4))])
    if content.startswith((b"II*\0", b"MM\0*")):
        raise _unreadable("TIFF")
    return None


def _form_of_brands(brands: bytes) -> Form | None:
    if any(brand in brands for brand in AVIF_BRANDS):
        return "avif"
    if any(brand in brands for brand in HEIC_BRANDS):
        raise _unreadable("HEIC, which phones make")
    return None


def _unreadable(name: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(f"The picture is {name}; it is not read here.", "Save it as JPEG or PNG.")


def decoding_bytes(content: bytes) -> int:
    """Return an estimate of the memory that decoding a picture needs; 0 of what is no picture.

    Pillow would read all segments of a file for its size, of which a hostile one has a million.
    """
    if content.startswith(JPEG):
        width, height, is_progressive = _jpeg_frame(content)
        area, most = width * height, MAX_PICTURE_PIXELS if is_progressive else MAX_JPEG_PIXELS
        return min(area, most) * (BYTES_A_PIXEL if is_progressive else BYTES_A_REDUCED_PIXEL)
    if content[4:8] == b"ftyp":
        return AVIF_BYTES
    size = size_of(content)
    each = BYTES_A_WEBP_PIXEL if content.startswith(b"RIFF") else BYTES_A_PIXEL
    return 0 if size is None else min(size[0] * size[1], MAX_PICTURE_PIXELS) * each


def check_size(content: bytes, form: Form, width: int, height: int) -> None:
    """Raise `InvalidImage` if a picture has more pixels than are decoded, or others than its header says.

    `width` and `height` are those that the decoder has found.
    """
    is_reduced = False
    if form == "jpeg":
        *size, is_progressive = _jpeg_frame(content)
        is_reduced = not is_progressive
        if is_progressive and content.count(SCAN) > MAX_SCANS:
            raise InvalidImage(f"The JPEG has more than {MAX_SCANS} scans.", "Save it as a baseline JPEG.")
        if is_reduced and tuple(size) != (width, height):
            raise InvalidImage("The JPEG has two sizes in its headers.", "Save it anew.")
    elif form != "avif" and size_of(content) not in (None, (width, height)):
        raise InvalidImage(f"The {form.upper()} has two sizes in its headers.", "Save it anew.")
    most = MAX_JPEG_PIXELS if is_reduced else MAX_PICTURE_PIXELS
    if width * height > most:
        raise InvalidImage(
            f"The picture has {width}x{height} pixels, which are more than {most // 1_000_000} megapixels.",
            f"Send a smaller one; a baseline JPEG may have {MAX_JPEG_PIXELS // 1_000_000}.",
        )


def size_of(content: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, BMP or WebP by its header; None of what is none of these."""
    if content.startswith(PNG) and len(content) >= PNG_HEADER_BYTES:
        is_usual = content[12:16] == b"IHDR"
        return (_big(content, 16, 4), _big(content, 20, 4)) if is_usual else (MAX_PICTURE_PIXELS, 1)
    if content.startswith(b"GIF8"):
        return _gif_size(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp_size(content)
    if content.startswith(b"BM") and len(content) >= 26:
        return _little(content, 18, 4), abs(int.from_bytes(content[22:26], "little", signed=True))
    return None


def _gif_size(content: bytes) -> tuple[int, int]:
    """Return the size of the screen and the first frame together; the most if the frame is not found."""
    screen = _little(content, 6, 2), _little(content, 8, 2)
    flags = content[10] if len(content) > 10 else 0
    place = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
    for _ in range(MAX_BLOCKS):
        kind = content[place] if place < len(content) else 0
        if kind == IMAGE_DESCRIPTOR:
            left, top, width, height = (_little(content, place + at, 2) for at in (1, 3, 5, 7))
            return max(screen[0], left + width), max(screen[1], top + height)
        if kind != EXTENSION:
            break
        place += 2
        while place < len(content) and content[place]:
            place += content[place] + 1
        place += 1
    return MAX_PICTURE_PIXELS, 1


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        return _little(content, 24, 3) + 1, _little(content, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(content, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF


def _jpeg_frame(content: bytes) -> tuple[int, int, bool]:
    """Return width, height and whether a JPEG is progressive; the most, and progressive, if it has no frame header."""
    place = len(JPEG) - 1
    for _ in range(MAX_SEGMENTS):
        segment = content[place : place + 9]
        if len(segment) < 9 or segment[0] != 0xFF or segment[1] in WITHOUT_LENGTH:
            break
        if segment[1] in FRAMES:
            return _big(segment, 7, 2), _big(segment, 5, 2), segment[1] in PROGRESSIVE
        place += 2 + int.from_bytes(segment[2:4], "big")
    return MAX_PICTURE_PIXELS, 1, True


def _big(content: bytes, at: int, count: int) -> int:
    return int.from_bytes(content[at : at + count], "big")


def _little(content: bytes, at: int, count: int) -> int:
    return int.from_bytes(content[at : at + count], "little")
