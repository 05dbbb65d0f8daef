"""One image: bytes to upright RGB pixels and back."""

import io
import zlib
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
SUFFIXES = frozenset(JPEG_SUFFIXES | OTHER_SUFFIXES)  # of what is read without an extra
FORMATS: tuple[str, ...] = (
    "PNG",
    "WEBP",
    "BMP",
    "DIB",
    "GIF",
    "TIFF",
    "AVIF",
    "PPM",
)  # of Pillow's; JPEG is read without it
PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
NEEDS_HEIC = "HEIC is read with the package pillow-heif: run `pip install 'carcls[heic]'`"
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PPM, HEIC"
MAX_PIXELS = 250_000_000  # a 50,000 x 50,000 bomb must not get past; the largest telephones make 200 million
ORIENTATION = 0x0112  # EXIF's tag
HASH_SIZE = 12  # of a side of `fingerprint`, in bits


def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the files that are read here: HEIC's only with its extra."""
    return SUFFIXES | HEIC_SUFFIXES if find_spec("pillow_heif") else SUFFIXES


def decode(data: bytes, name: str) -> np.ndarray:
    """The image in `data` as uint8 RGB of shape (height, width, 3), turned upright by its EXIF orientation.

    JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PPM and, with the extra heic, HEIC in any colour mode, told by its
    content; the first picture of several; transparency is laid over white. What is odd beside the pixels,
    such as broken EXIF, is passed over. Raises InputError, naming `name`, when it is none of these, damaged
    in any part, truncated or over MAX_PIXELS.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        formats = FORMATS
        if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
            _register_heic()
            formats += ("HEIF",)
        with Image.open(io.BytesIO(_without_notes(data)), formats=formats) as image:
            _check_size(image.width, image.height)
            return _turned(np.asarray(_rgb(image)), image)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: not an image this reads ({READ}), or damaged at its start.") from None
    except MemoryError:
        raise InputError(f"{name}: the image is too large for this machine's memory; shrink it.") from None
    except Exception as error:  # decoders meet damage with a dozen kinds of exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: the image is damaged or truncated ({reason}).") from None


def imdecode(data: bytes) -> np.ndarray:
    """The JPEG in `data` as uint8 RGB, taken as it lies. Raises ValueError when it is none or damaged.

    libjpeg makes something of any damage and warns; unlike Pillow and OpenCV, this takes the warning.
    """
    return simplejpeg.decode_jpeg(data, "RGB")


def _jpeg(data: bytes) -> np.ndarray:
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    _check_size(width, height)
    if colours not in ("CMYK", "YCCK"):
        image = imdecode(data)
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:
                return _turned(image, header)
        except Exception:  # what it says of itself may be broken; its pixels are not
            return image
    simplejpeg.decode_jpeg(data, "CMYK")  # finds damage; for the colours Pillow knows what Adobe inverts
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as inks:
        return _turned(np.asarray(inks.convert("RGB")), inks)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"the image has more than {MAX_PIXELS:,} pixels; shrink it.")


def _register_heic() -> None:
    if not find_spec("pillow_heif"):
        raise InputError(f"{NEEDS_HEIC}.")
    import pillow_heif

    pillow_heif.register_heif_opener()


def _without_notes(data: bytes) -> bytes:
    """A PNG without what is beside its pixels: Pillow refuses one for a long or damaged comment."""
    if not data.startswith(PNG):
        return data
    kept, start = [PNG], len(PNG)
    while start < len(data):
        length, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8]
        end = start + 12 + length
        sound = zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
        if kind in PNG_PIXELS or (kind == b"eXIf" and sound):
            kept.append(data[start:end])
        elif not kind.isalpha():  # no chunk: the file is damaged, which Pillow is to find
            return data
        start = end
    return b"".join(kept)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16 bits instead of scaling them
        values = np.asarray(image)
        deep = image.mode != "I" or values.max() > 255  # 32 bits may hold 8
        return Image.fromarray((values >> 8 if deep else values).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise InputError("its pixels are floating-point numbers; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _turned(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """`pixels` as the orientation of `image` says they are to be seen, where it can be read."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # broken EXIF: as many kinds as there are ways to break it
        return pixels
    match orientation:
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
    """`image` rescaled to (size, size, 3); its aspect ratio is not kept (the paper's protocol, section 3)."""
    shrinks = min(image.shape[:2]) > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def encode(image: np.ndarray, quality: int) -> bytes:
    """`image` (uint8 RGB) as a JPEG of the given quality, 1 to 100."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return data.tobytes()


def fingerprint(image: np.ndarray) -> str:
    """What `image` (uint8 RGB) looks like in HASH_SIZE ** 2 bits, as hexadecimal digits: its perceptual hash.

    Rescaled or recompressed copies differ in few of them, other pictures in half.
    """
    import imagehash  # for those who collect; a training and a prediction do without

    grey = cv2.cvtColor(resize(image, 64), cv2.COLOR_RGB2GRAY)  # by far quicker here than in Pillow
    return str(imagehash.phash(Image.fromarray(grey), hash_size=HASH_SIZE))
