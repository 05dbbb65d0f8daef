"""Augmentation beside Albumentations: sources a second of one core, the same work for both, in one run.

The work: decode one photograph, rescale it to 400 x 400, make nine copies of one operation each with
strengths drawn at Albumentations' defaults, and encode the nine as JPEG of quality 95 with 4:2:0 chroma. All
rescale with the same interpolation and fill the corners of a rotation with the mirror image.

Albumentations has simplejpeg (libjpeg-turbo) around it, the fastest way to use it. It runs twice: each
transform seeded by A.Compose, which is how its copies can be made again, as ours can; and each called alone.

    pip install albumentations==2.0.8 simplejpeg
    python -m benchmarks.augment [FOLDER | ZIP | TAR] [--width 600]
"""

import argparse
import os
import platform
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from unittest.mock import patch

import cv2
import numpy as np

from carcls import augment, images, params
from carcls.sources import demo

SIZE = 400
QUALITY = 95
DEFAULTS = params.Operations.model_validate(  # Albumentations 2.0.8's
    {
        "brightness_contrast": {"brightness": 0.2, "contrast": 0.2},
        "gamma": {"low": 0.8, "high": 1.2},
        "rotate": {"degrees": 90},
        "rgb_shift": {"limit": 20},
        "gauss_noise": {"std_low": 0.2, "std_high": 0.44},
        "blur": {"kernel": 7},
    }
)


def main() -> None:
    arguments = _arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sources = [_widened(data, arguments.width) for data in _photographs(arguments.path, arguments.sources)]
    makers = {
        "carcls": _carcls,
        "albumentations 2.0.8, seeded": partial(_albumentations, seeded=True),
        "albumentations 2.0.8, bare": partial(_albumentations, seeded=False),
    }
    rates, sizes = _race(makers, sources, arguments.rounds)
    shapes = [images.decode(data, "a source").shape for data in sources]
    height, width = np.median([shape[:2] for shape in shapes], axis=0).astype(int)
    print(f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}, one core")
    size = f"median {width} x {height}, {_kb(map(len, sources))} KB"
    print(f"{len(sources)} photographs from {_origin(arguments)}: {size}")
    print(f"to {SIZE} x {SIZE}, nine copies, quality {QUALITY}")
    print(f"sources a second of processor time, median of {arguments.rounds} rounds\n")
    print("| | sources/s | slowest to fastest round | KB a copy | carcls is |\n|---|---|---|---|---|")
    for name, rate in rates.items():
        times = median(ours / its for ours, its in zip(rates["carcls"], rate, strict=True))
        span = f"{min(rate):.1f} to {max(rate):.1f}"
        print(f"| {name} | {median(rate):.1f} | {span} | {_kb(sizes[name])} | {times:.2f} times |")
    print()
    _parts(sources)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "path", nargs="?", type=Path, help="folder, zip or tar of JPEGs (none: demo pictures)"
    )
    parser.add_argument(
        "--width", type=int, help="rescale the photographs to this width before the clock runs"
    )
    parser.add_argument("--sources", type=int, default=24, help="photographs of one round")
    parser.add_argument("--rounds", type=int, default=40)
    return parser.parse_args()


def _origin(arguments: argparse.Namespace) -> str:
    origin = arguments.path.name if arguments.path else "the demo"
    return f"{origin}, rescaled to {arguments.width} wide" if arguments.width else origin


def _kb(sizes: Iterable[int]) -> str:
    return f"{mean(sizes) / 1000:.0f}"


def _photographs(path: Path | None, count: int) -> list[bytes]:
    """`count` JPEGs of `path`, evenly spread over it."""
    if path is None:
        models = (model for _ in range(count) for model in demo.TARGET)
        pictures = (demo.draw(model, np.random.default_rng(i)) for i, model in enumerate(models))
        return [images.encode(picture, QUALITY) for picture in islice(pictures, count)]
    found = [data for name, data in sorted(_files(path)) if name.lower().endswith((".jpg", ".jpeg"))]
    if len(found) < count:
        sys.exit(f"{path} holds {len(found)} JPEGs; --sources {count} need as many.")
    return [found[i * len(found) // count] for i in range(count)]


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from ((str(file), file.read_bytes()) for file in path.rglob("*") if file.is_file())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    else:
        with tarfile.open(path) as archive:
            yield from ((m.name, archive.extractfile(m).read()) for m in archive if m.isfile())


def _widened(data: bytes, width: int | None) -> bytes:
    if width is None:
        return data
    image = images.decode(data, "a source")
    height = round(image.shape[0] * width / image.shape[1])
    return images.encode(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), 90)


def _carcls() -> Callable[[bytes, int], list[bytes]]:
    def make(data: bytes, number: int) -> list[bytes]:
        rng = np.random.default_rng(number)
        image = images.resize(images.decode(data, "a source"), SIZE)
        operations = [augment.draw(name, DEFAULTS, rng) for name in augment.OPERATIONS]
        return [images.encode(augment.apply(image, operation), QUALITY) for operation in operations]

    return make


def _albumentations(seeded: bool) -> Callable[[bytes, int], list[bytes]]:
    with patch.dict(os.environ, NO_ALBUMENTATIONS_UPDATE="1"):  # else it asks the network for its version
        import albumentations as A
    import simplejpeg

    shrink = A.Resize(SIZE, SIZE, interpolation=cv2.INTER_AREA)
    stretch = A.Resize(SIZE, SIZE, interpolation=cv2.INTER_LINEAR)
    transforms = [
        A.HorizontalFlip(p=1),
        A.RandomBrightnessContrast(p=1),
        A.RandomGamma(p=1),
        A.Rotate(border_mode=cv2.BORDER_REFLECT_101, p=1),
        A.RGBShift(p=1),
        A.GaussNoise(p=1),
        A.ChannelShuffle(p=1),
        A.ToGray(p=1),
        A.Blur(p=1),
    ]
    if seeded:
        transforms = [A.Compose([transform], seed=1) for transform in transforms]

    def make(data: bytes, number: int) -> list[bytes]:
        image = simplejpeg.decode_jpeg(data)
        image = (shrink if min(image.shape[:2]) > SIZE else stretch)(image=image)["image"]
        copies = (transform(image=image)["image"] for transform in transforms)
        return [
            simplejpeg.encode_jpeg(np.ascontiguousarray(copy), QUALITY, colorsubsampling="420")
            for copy in copies
        ]

    return make


def _race(makers: dict[str, Callable], sources: list[bytes], rounds: int) -> tuple[dict, dict]:
    """Sources a second in each round and the sizes of one round's files; the first round is a warm-up.

    Each maker has a process of its own, since what one leaves of the heap slows or speeds the other, and they
    take turns on the same core.
    """
    rates = {name: [] for name in makers}
    sizes = {}
    with ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for name in makers}
        for number in range(rounds + 1):
            for name in list(makers) if number % 2 else reversed(makers):
                seconds, sizes[name] = pools[name].submit(_round, makers[name], sources, number).result()
                if number:
                    rates[name].append(len(sources) / seconds)
    return rates, sizes


def _round(maker: Callable, sources: list[bytes], number: int) -> tuple[float, list[int]]:
    make = maker()
    sizes = []
    start = time.process_time()  # seconds of this core, without those in which others had it
    for i, data in enumerate(sources):
        sizes += map(len, make(data, number * len(sources) + i))  # and the files are dropped, as if written
    return time.process_time() - start, sizes


def _parts(sources: list[bytes]) -> None:
    """Print where our time goes, in milliseconds a source."""
    decoded = [images.decode(data, "a source") for data in sources]
    resized = [images.resize(image, SIZE) for image in decoded]
    rng = np.random.default_rng(0)
    print("| part of ours | ms |\n|---|---|")
    print(f"| decode | {_milliseconds(lambda data: images.decode(data, 'a source'), sources):.2f} |")
    print(f"| resize | {_milliseconds(lambda image: images.resize(image, SIZE), decoded):.2f} |")
    for name in augment.OPERATIONS:
        copies = [augment.apply(image, augment.draw(name, DEFAULTS, rng)) for image in resized]
        change = _milliseconds(
            lambda image, name=name: augment.apply(image, augment.draw(name, DEFAULTS, rng)), resized
        )
        encode = _milliseconds(lambda image: images.encode(image, QUALITY), copies)
        print(f"| {name}, encode | {change:.2f}, {encode:.2f} |")


def _milliseconds(function: Callable, items: list) -> float:
    times = []
    for item in items:
        start = time.process_time()
        function(item)
        times.append(1000 * (time.process_time() - start))
    return sum(times) / len(times)


if __name__ == "__main__":
    main()
