"""One image: bytes to upright RGB pixels and back."""

import io

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from carcls.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 100_000_000  # what a 50,000 x 50,000 bomb must not get past; a large camera makes 60 million


def decode(data: bytes, name: str) -> np.ndarray:
    """The image in `data` as uint8 RGB of shape (height, width, 3), turned upright by its EXIF orientation.

    JPEG, PNG, WebP, BMP and GIF (its first frame) in any colour mode; transparency is laid over white.
    Raises InputError, naming `name`, when it is none of these, damaged, truncated or over MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if image.format == "JPEG" and image.mode == "RGB" and data.endswith(b"\xff\xd9"):
                return imdecode(data)
            return np.asarray(_upright_rgb(image))
    except Image.DecompressionBombError:  # PIL's own limit is checked before it is open
        raise InputError(f"{name}: the image has more than {MAX_PIXELS:,} pixels; shrink it.") from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: not an image this reads ({', '.join(FORMATS)}).") from None
    except (OSError, ValueError, SyntaxError, cv2.error) as error:
        raise InputError(f"{name}: the image is damaged or truncated ({error}).") from None


def imdecode(data: bytes) -> np.ndarray:
    """The JPEG in `data` as uint8 RGB, taken as it lies. Raises ValueError when it is none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("no JPEG")
    return image


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # PIL's own conversion clips 16 bits instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


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
