import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from carcls.errors import InputError
from carcls.imageset import images

COLOUR = (200, 40, 90)
pillow_heif.register_heif_opener()


def data_of(image: Image.Image, suffix: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "suffix", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM", "MPO", "HEIF"]
)
def test_each_format_is_decoded_to_rgb(suffix):
    image = images.decode(data_of(Image.new("RGB", (30, 20), COLOUR), suffix), "x")
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - COLOUR).max() < 12


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("LA", "PNG")])
def test_each_colour_mode_is_decoded_to_rgb(mode, suffix):
    grey = Image.new("RGB", (16, 16), (153, 153, 153)).convert(mode)
    assert np.abs(images.decode(data_of(grey, suffix), "x").astype(int) - 153).max() < 6


def test_16_bit_images_are_scaled_not_clipped():
    deep = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    assert np.all(images.decode(data_of(deep, "PNG"), "x") == 0x80)


def test_32_bit_images_with_8_bit_values_are_not_scaled():
    wide = Image.fromarray(np.full((4, 4), 0x80, np.int32))
    assert np.all(images.decode(data_of(wide, "TIFF"), "x") == 0x80)


def test_transparency_is_blended_with_white():
    assert np.all(images.decode(data_of(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG"), "x") == 255)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_exif_orientation_is_applied(mode):
    upright = Image.new("RGB", (32, 16))
    upright.paste((255, 255, 255), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer must rotate it by 90 degrees clockwise
    data = data_of(upright.rotate(90, expand=True).convert(mode), "JPEG", exif=exif)
    image = images.decode(data, "x")
    assert image.shape == (16, 32, 3)
    assert image[:, :12].mean() > 240
    assert image[:, 20:].mean() < 15


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"<html>", lambda data: b""]
)
def test_a_file_without_a_complete_image_is_named(damage):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"^car\.jpg: "):
        images.decode(damage(data_of(noise, "JPEG")), "car.jpg")


def noise() -> bytes:
    return data_of(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")


def overwritten(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(range(200, 250)) * 4 + data[middle + 200 :]


def without_tables(data: bytes) -> bytes:
    start = data.index(b"\xff\xdb")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4]) :]


@pytest.mark.parametrize(
    "damage",
    [
        without_tables,
        overwritten,
        lambda data: data[: len(data) // 2] + b"\xff\xd9",
        lambda data: data[: len(data) // 2] + bytes(len(data) // 2),
        lambda data: data[:-2],
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_partly_damaged_jpeg_is_named(damage, mode):
    data = data_of(Image.open(io.BytesIO(noise())).convert(mode), "JPEG")
    with pytest.raises(InputError, match=r"^car\.jpg: the image is damaged or truncated"):
        images.decode(damage(data), "car.jpg")


def test_damage_outside_the_pixels_is_ignored():
    upright = images.decode(noise(), "x")
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 2_000_000, zip=True)
    image = Image.fromarray(upright)
    odd = [
        noise() + b"after the end",
        noise().replace(b"JFIF", b"JUNK"),
        data_of(image, "PNG", pnginfo=info),
        data_of(image, "PNG", exif=b"no TIFF block"),
        data_of(image, "PNG", icc_profile=b"no profile"),
        data_of(image, "PNG", pnginfo=info).replace(b"comment", b"changed"),  # invalid checksum
        data_of(image, "PNG") + b"after the end",
    ]
    for data in odd:
        assert np.array_equal(images.decode(data, "x"), upright)


def test_the_orientation_is_read_despite_a_wrong_exif_field():
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHL4s", 256, 2, 4, b"400\0")
    block += struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<L", 0)
    turned = data_of(Image.new("RGB", (20, 30), COLOUR), "JPEG", exif=block)
    assert images.decode(turned, "x").shape == (20, 30, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_applied_like_in_pillow(orientation, rng):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(rng.integers(0, 255, (6, 9, 3), np.uint8))
    data = data_of(image, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(images.decode(data, "x"), expected)


XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
XMP_SPELLINGS = {
    "attribute": XMP,
    "element": XMP.replace(
        b' tiff:Orientation="6"/>', b"><tiff:Orientation>6</tiff:Orientation></rdf:Description>"
    ),
    "single quotes": XMP.replace(b'"6"', b"'6'"),
    "white space": XMP.replace(b'="6"', b'\n= "6"'),
    "other prefix": XMP.replace(b"tiff:Orientation", b"t:Orientation").replace(b"xmlns:tiff", b"xmlns:t"),
    "zero at the end": XMP + b"\0",
}


def with_xmp(image: Image.Image, suffix: str, xmp: bytes, **options) -> bytes:
    """`image` in the format `suffix`, with `xmp` where that format stores it."""
    if suffix == "TIFF":
        return data_of(image, suffix, tiffinfo={700: xmp, **options.get("exif", {})})
    if suffix == "GIF":  # Pillow writes no XMP: an application extension and its trailer, before the end
        block = b"!\xff\x0bXMP DataXMP" + xmp + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
        return data_of(image, suffix)[:-1] + block + b";"
    if suffix.startswith("PNG"):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=suffix == "PNG, compressed")
        return data_of(image, "PNG", pnginfo=info, **options)
    return data_of(image, suffix, xmp=xmp, **options)


@pytest.mark.parametrize("spelling", XMP_SPELLINGS)
@pytest.mark.parametrize("suffix", ["JPEG", "MPO", "PNG", "PNG, compressed", "WEBP", "TIFF", "AVIF", "GIF"])
def test_an_orientation_only_in_xmp_is_applied(suffix, spelling):
    upright = Image.new("RGB", (48, 32))
    upright.paste((255, 255, 255), (0, 0, 16, 16))
    data = with_xmp(upright.rotate(90, expand=True), suffix, XMP_SPELLINGS[spelling])
    image = images.decode(data, "x").astype(int)
    assert image.shape == (32, 48, 3)
    assert np.abs(image - np.asarray(upright)).mean() < 12


def test_a_heic_image_is_rotated_once():
    turned = Image.new("RGB", (32, 48), COLOUR)
    assert images.decode(with_xmp(turned, "HEIF", XMP), "x").shape == (32, 48, 3)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_in_exif_has_priority_over_xmp(suffix):
    exif = Image.Exif()
    exif[0x0112] = 1
    data = with_xmp(Image.new("RGB", (48, 32)), suffix, XMP, exif=exif)
    assert images.decode(data, "x").shape == (32, 48, 3)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "PNG, compressed", "WEBP", "TIFF", "GIF"])
def test_broken_xmp_is_ignored(suffix):
    for xmp in (XMP[:200], XMP.replace(b'"6"', b'"north"'), b"no XML", b"\0"):
        assert images.decode(with_xmp(Image.new("RGB", (48, 32)), suffix, xmp), "x").shape == (32, 48, 3)


def test_xmp_beside_broken_exif_is_used():
    data = with_xmp(Image.new("RGB", (48, 32)), "WEBP", XMP, exif=b"no TIFF block")
    assert images.decode(data, "x").shape == (48, 32, 3)


def test_a_phone_image_of_108_megapixels_is_read():
    data = data_of(Image.new("L", (12_000, 9_000), 200), "JPEG", quality=30)
    assert images.decode(data, "x").shape == (9_000, 12_000, 3)


def test_the_message_for_heic_without_its_package_says_what_to_install(monkeypatch):
    data = data_of(Image.new("RGB", (30, 20), COLOUR), "HEIF")
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    assert ".heic" not in images.suffixes()
    with pytest.raises(InputError, match=r"x: HEIC needs the package .*`pip install 'carcls\[heic\]'"):
        images.decode(data, "x")


def test_the_perceptual_hash_recognises_a_rescaled_and_recompressed_copy(rng):
    picture = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((320, 240))
    copy = data_of(picture.resize((200, 150)), "JPEG", quality=50)
    other = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((320, 240))
    first, second, third = (
        int(images.fingerprint(pixels), 16)
        for pixels in (np.asarray(picture), images.decode(copy, "x"), np.asarray(other))
    )
    assert (first ^ second).bit_count() <= 8 and (first ^ third).bit_count() > 30


def test_a_decompression_bomb_is_rejected_by_its_header():
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
