"""Compare the speed of augmentation with Albumentations: photographs per second on one core.

Both do the same work: decode a photograph, rescale it to 400 x 400, make nine copies with one operation each,
with strengths drawn from Albumentations' default ranges, and encode the nine as JPEG of quality 95 with 4:2:0
chroma. Both use the same interpolation, and fill the corners of a rotation with the mirror image.

Albumentations is measured with simplejpeg (libjpeg-turbo), the fastest way to use it, and in two forms: with
each transform seeded by A.Compose, which makes its copies reproducible like ours, and with bare transforms.

    pip install albumentations==2.0.8 simplejpeg
    python -m benchmarks.augment [FOLDER | ZIP | TAR] [--width 600]
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.common import described, machine, photographs, table
from carcls import params
from carcls.base import startup
from carcls.data import augment
from carcls.imageset import images

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
    startup.set_up()
    arguments = _arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sources = [_widened(data, arguments.width) for data in photographs(arguments.path, arguments.sources)]
    makers: dict[str, Callable] = {
        "carcls": _carcls,
        "albumentations 2.0.8, seeded": partial(_albumentations, seeded=True),
        "albumentations 2.0.8, bare": partial(_albumentations, seeded=False),
    }
    rates, sizes = _race(makers, sources, arguments.rounds)
    print(f"{machine()}, one of the cores; OpenCV {cv2.__version__}")
    print(described(sources, _origin(arguments)))
    print(f"to {SIZE} x {SIZE}, nine copies, quality {QUALITY}")
    print(f"sources per second of processor time, median of {arguments.rounds} rounds\n")
    rows = []
    for name, rate in rates.items():
        times = median(ours / its for ours, its in zip(rates["carcls"], rate, strict=True))
        span = f"{min(rate):.1f} to {max(rate):.1f}"
        rows.append(
            (name, f"{median(rate):.1f}", span, f"{mean(sizes[name]) / 1000:.0f}", f"{times:.2f} times")
        )
    table(("", "sources/s", "slowest to fastest round", "KB per copy", "carcls is"), rows)
    _parts(sources)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "path", nargs="?", type=Path, help="folder, zip or tar of JPEGs (default: demo images)"
    )
    parser.add_argument(
        "--width", type=int, help="rescale the photographs to this width before the measurement"
    )
    parser.add_argument("--sources", type=int, default=24, help="photographs per round")
    parser.add_argument("--rounds", type=int, default=40)
    return parser.parse_args()


def _origin(arguments: argparse.Namespace) -> str:
    origin = arguments.path.name if arguments.path else "the demo"
    return f"{origin}, rescaled to {arguments.width} wide" if arguments.width else origin


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
    with patch.dict(os.environ, NO_ALBUMENTATIONS_UPDATE="1"):  # no version check over the network
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
    """Sources per second in each round, and the file sizes of the last; the first round is a warm-up.

    Each maker runs in its own process, because the state of the heap affects the speed. They alternate on the
    same core.
    """
    rates: dict[str, list[float]] = {name: [] for name in makers}
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
    sizes: list[int] = []
    start = time.process_time()  # excludes the time that other processes use the core
    for i, data in enumerate(sources):
        sizes += map(len, make(data, number * len(sources) + i))  # instead of writing the files
    return time.process_time() - start, sizes


def _parts(sources: list[bytes]) -> None:
    """Print the milliseconds per source of each part of carcls."""
    decoded = [images.decode(data, "a source") for data in sources]
    resized = [images.resize(image, SIZE) for image in decoded]
    rng = np.random.default_rng(0)
    rows = [
        ("decode", _milliseconds(lambda data: images.decode(data, "a source"), sources)),
        ("resize", _milliseconds(lambda image: images.resize(image, SIZE), decoded)),
    ]
    for name in augment.OPERATIONS:
        copies = [augment.apply(image, augment.draw(name, DEFAULTS, rng)) for image in resized]
        change = _milliseconds(
            lambda image, name=name: augment.apply(image, augment.draw(name, DEFAULTS, rng)), resized
        )
        encode = _milliseconds(lambda image: images.encode(image, QUALITY), copies)
        rows.append((f"{name}, encode", f"{change}, {encode}"))
    table(("part of carcls", "ms"), rows)


def _milliseconds(function: Callable, items: list) -> str:
    times = []
    for item in items:
        start = time.process_time()
        function(item)
        times.append(1000 * (time.process_time() - start))
    return f"{mean(times):.2f}"


if __name__ == "__main__":
    main()
