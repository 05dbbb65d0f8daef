import io

import numpy as np
import pytest
from PIL import Image

from carcls.data import images
from carcls.errors import InputError

COLOUR = (200, 40, 90)


def data_of(image: Image.Image, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_each_format_comes_out_rgb(suffix):
    image = images.decode(data_of(Image.new("RGB", (30, 20), COLOUR), suffix), "x")
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - COLOUR).max() < 12


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("LA", "PNG")])
def test_each_colour_mode_comes_out_rgb(mode, suffix):
    grey = Image.new("RGB", (16, 16), (153, 153, 153)).convert(mode)
    assert np.abs(images.decode(data_of(grey, suffix), "x").astype(int) - 153).max() < 6


def test_sixteen_bits_are_scaled_not_clipped():
    deep = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    assert np.all(images.decode(data_of(deep, "PNG"), "x") == 0x80)


def test_transparency_is_laid_over_white():
    assert np.all(images.decode(data_of(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG"), "x") == 255)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_exif_rotation_is_undone(mode):
    upright = Image.new("RGB", (32, 16))
    upright.paste((255, 255, 255), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: a viewer must rotate it by 90 degrees clockwise
    data = data_of(upright.rotate(90, expand=True).convert(mode), "JPEG", exif=exif)
    image = images.decode(data, "x")
    assert image.shape == (16, 32, 3)
    assert image[:, :12].mean() > 240
    assert image[:, 20:].mean() < 15


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"<html>", lambda data: b""]
)
def test_what_is_no_whole_image_is_named(damage):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"^car\.jpg: "):
        images.decode(damage(data_of(noise, "JPEG")), "car.jpg")


def test_a_bomb_is_refused_by_its_header():
    header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (50000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little")
    header += (24).to_bytes(2, "little") + bytes(24)
    with pytest.raises(InputError, match="bomb.bmp: .*250,000,000 pixels"):
        images.decode(header, "bomb.bmp")


def test_resize_makes_a_square_and_encode_keeps_colours():
    image = np.full((30, 50, 3), COLOUR, np.uint8)
    assert images.resize(image, 24).shape == (24, 24, 3)
    assert images.resize(image, 64).shape == (64, 64, 3)
    again = images.decode(images.encode(image, 95), "x")
    assert np.abs(again.astype(int) - COLOUR).max() < 6
