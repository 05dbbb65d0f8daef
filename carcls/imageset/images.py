"""Decode image files to upright RGB pixels, and encode pixels as JPEG."""

import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from carcls.errors import InputError

JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".mpo"}
OTHER_SUFFIXES = {
    ".png",
    ".webp",
    ".bmp",
    ".dib",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
}
HEIC_SUFFIXES = {".heic", ".heif", ".hif"}
SUFFIXES = frozenset(JPEG_SUFFIXES | OTHER_SUFFIXES)  # readable without the extra heic
# Pillow's names; JPEG is decoded without Pillow
FORMATS: tuple[str, ...] = ("PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "PPM")
PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
NEEDS_HEIC = "HEIC needs the package pillow-heif: run `pip install 'carcls[heic]'`"
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PPM, HEIC"
MAX_PIXELS = 250_000_000  # rejects decompression bombs; the largest phone cameras have 200 million pixels
ORIENTATION = 0x0112  # EXIF tag
XMP_ORIENTATION = "{http://ns.adobe.com/tiff/1.0/}Orientation"
PNG_XMP = b"XML:com.adobe.xmp\0"  # starts the iTXt chunk that holds the XMP
GIF_XMP = b"XMP DataXMP"  # starts the application extension that holds the XMP
MAX_XMP = 2**24  # bytes of decompressed XMP that are searched
HASH_SIZE = 12  # `fingerprint` has HASH_SIZE ** 2 bits


def suffixes() -> frozenset[str]:
    """The suffixes of readable files, in lower case. HEIC needs its extra."""
    return SUFFIXES | HEIC_SUFFIXES if find_spec("pillow_heif") else SUFFIXES


def decode(data: bytes, name: str) -> np.ndarray:
    """The image in `data` as uint8 RGB of shape (height, width, 3), upright.

    The orientation is from EXIF, or from XMP if EXIF has none, as in Pillow's exif_transpose. The format is
    JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PPM or, with the extra heic, HEIC in any colour mode. The content
    determines it, not the name. A file with several images gives the first. Transparent pixels are blended
    with white. Damage outside the pixels, such as broken EXIF, is ignored. Raises InputError with `name` if
    the format is unknown, or the image is damaged, truncated or over MAX_PIXELS.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        formats = FORMATS
        if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
            _register_heic()
            formats += ("HEIF",)
        with Image.open(io.BytesIO(_without_comments(data)), formats=formats) as image:
            _check_size(image.width, image.height)
            _add_xmp_orientation(image, data)
            return _upright(np.asarray(_rgb(image)), image)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a supported image ({READ}), or damaged at its start.") from None
    except MemoryError:
        raise InputError(
            f"{name}: the image is too large for the memory of this machine; shrink it."
        ) from None
    except Exception as error:  # decoders raise a dozen types of exceptions for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: the image is damaged or truncated ({reason}).") from None


def imdecode(data: bytes) -> np.ndarray:
    """The JPEG in `data` as uint8 RGB, without rotation. Raises ValueError if it is not a JPEG or damaged.

    libjpeg decodes damaged files with a warning. Unlike Pillow and OpenCV, simplejpeg raises that warning.
    """
    return simplejpeg.decode_jpeg(data, "RGB")


def _jpeg(data: bytes) -> np.ndarray:
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    _check_size(width, height)
    if colours not in ("CMYK", "YCCK"):
        image = imdecode(data)
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:
                _add_xmp_orientation(header, data)
                return _upright(image, header)
        except Exception:  # the metadata is broken, but the pixels are not
            return image
    simplejpeg.decode_jpeg(data, "CMYK")  # only to detect damage: Pillow converts, knowing Adobe's inversion
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as inks:
        _add_xmp_orientation(inks, data)
        return _upright(np.asarray(inks.convert("RGB")), inks)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"the image has more than {MAX_PIXELS:,} pixels; shrink it.")


def _register_heic() -> None:
    if not find_spec("pillow_heif"):
        raise InputError(f"{NEEDS_HEIC}.")
    import pillow_heif

    pillow_heif.register_heif_opener()


def _without_comments(data: bytes) -> bytes:
    """A PNG without comments: Pillow rejects a file with a long or damaged one."""
    if not data.startswith(PNG):
        return data
    kept = [PNG]
    for kind, chunk in _chunks(data):
        if kind in PNG_PIXELS or (kind == b"eXIf" and _is_sound(chunk)):
            kept.append(chunk)
        elif not kind.isalpha():  # not a chunk: the file is damaged, and Pillow reports it
            return data
    return b"".join(kept)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The type of each chunk and all its bytes: length, type, content and checksum."""
    start = len(PNG)
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4])
        yield png[start + 4 : start + 8], png[start:end]
        start = end


def _is_sound(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _add_xmp_orientation(image: Image.Image, data: bytes) -> None:
    """Add the orientation in XMP to the EXIF of `image`, if EXIF has none.

    Call it before the pixels are loaded, because Pillow transposes a TIFF while it loads it. Pillow itself
    finds the usual spelling in most formats, but not in a PNG without comments, in a GIF, or in other valid
    XML.
    """
    with suppress(Exception):  # broken EXIF raises only in the first call; the second returns what was read
        image.getexif()
    exif = image.getexif()
    if ORIENTATION in exif or image.format == "HEIF":  # libheif has already rotated the pixels
        return
    with suppress(Exception):  # broken XMP raises many types of exceptions
        orientation = _xmp_orientation(_xmp(image, data))
        if orientation:
            exif[ORIENTATION] = orientation


def _xmp(image: Image.Image, data: bytes) -> bytes:
    """The XMP packet of `image`; b"" if it has none. Raises an error of any type for a damaged one."""
    if image.format == "PNG":
        return next(filter(None, map(_png_xmp, _chunks(data))), b"")
    if image.format == "GIF":
        return data.partition(GIF_XMP)[2].partition(b"<?xpacket end")[0]
    xmp = image.info.get("xmp", b"")
    return xmp.encode() if isinstance(xmp, str) else xmp  # str from a TIFF tag of the type ASCII


def _png_xmp(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    if kind != b"iTXt" or not data.startswith(PNG_XMP, 8) or not _is_sound(data):
        return b""
    flags = data[8 + len(PNG_XMP) : -4]
    _, _, text = flags[2:].split(b"\0", 2)  # language, translated keyword
    return zlib.decompressobj().decompress(text, MAX_XMP) if flags[0] else text


def _xmp_orientation(xmp: bytes) -> int | None:
    """tiff:Orientation as an attribute or an element. Raises ParseError for broken XML."""
    if not xmp:
        return None
    from xml.etree import ElementTree  # imported late: few images have XMP and no orientation in EXIF

    for element in ElementTree.fromstring(xmp.rstrip(b"\0 \n")).iter():
        value = element.text if element.tag == XMP_ORIENTATION else element.get(XMP_ORIENTATION)
        if value:
            return int(value)
    return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow's conversion clips 16-bit values instead of scaling them
        values = np.asarray(image)
        deep = image.mode != "I" or values.max() > 255  # 32-bit images may contain 8-bit values
        return Image.fromarray((values >> 8 if deep else values).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise InputError("the pixels are floating-point numbers; save it with 8 or 16 bits per channel.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """`pixels` rotated and flipped according to the orientation of `image`."""
    match image.getexif().get(ORIENTATION):
        case 2:
            pixels = pixels[:, ::-1]
        case 3:
            pixels = pixels[::-1, ::-1]
        case 4:
            pixels = pixels[::-1]
        case 5:
            pixels = pixels.transpose(1, 0, 2)
        case 6:
            pixels = np.rot90(pixels, -1)
        case 7:
            pixels = pixels[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            pixels = np.rot90(pixels)
    return np.ascontiguousarray(pixels)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """`image` resized to (size, size, 3) without keeping the aspect ratio (section 3 of the paper)."""
    shrinks = min(image.shape[:2]) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def encode(image: np.ndarray, quality: int) -> bytes:
    """`image` (uint8 RGB) as a JPEG of the given quality, 1 to 100."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return data.tobytes()


def fingerprint(image: np.ndarray) -> str:
    """The perceptual hash of `image` (uint8 RGB): HASH_SIZE ** 2 bits as hexadecimal digits.

    Rescaled or recompressed copies differ in few bits, other images in about half of them.
    """
    import imagehash  # training and prediction do not need it

    grey = cv2.cvtColor(resize(image, 64), cv2.COLOR_RGB2GRAY)  # much faster here than in Pillow
    return str(imagehash.phash(Image.fromarray(grey), hash_size=HASH_SIZE))
