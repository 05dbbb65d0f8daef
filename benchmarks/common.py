"""Functions that the benchmarks share: photographs, the name of the machine, tables."""

import os
import platform
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from carcls.data import augment
from carcls.demo import photographs as demo
from carcls.imageset import archive, images


def photographs(path: Path | None, count: int) -> list[bytes]:
    """`count` JPEGs, evenly spread over the folder, zip or tar `path`, or demo images if it is None."""
    if path is None:
        models = (model for _ in range(count) for model in demo.TARGET)
        pictures = (demo.draw(model, np.random.default_rng(i)) for i, model in enumerate(models))
        return [images.encode(picture, 95) for picture in islice(pictures, count)]
    found = [data for name, data in sorted(files(path)) if name.lower().endswith((".jpg", ".jpeg"))]
    if len(found) < count:
        sys.exit(f"{path} contains {len(found)} JPEGs, but {count} are needed.")
    return [found[i * len(found) // count] for i in range(count)]


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file of the folder, zip or tar `path`."""
    if path.is_dir():
        yield from ((str(file), file.read_bytes()) for file in path.rglob("*") if file.is_file())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if file := archive.extractfile(member):  # None for a folder
                    yield member.name, file.read()


def spread(path: Path, count: int) -> list[Path]:
    """`count` JPEGs, evenly spread over the class folders in `path`."""
    found = sorted(path.rglob("*.jpg"))
    if len(found) < count:
        sys.exit(f"{path} contains {len(found)} .jpg files, but {count} are needed.")
    return [found[i * len(found) // count] for i in range(count)]


def write_folder(folder: Path, photographs: list[Path]) -> None:
    """Write `photographs` in class folders, as ImageFolder expects them."""
    for number, photograph in enumerate(photographs):
        target = folder / photograph.parent.name / f"{number:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(photograph.read_bytes())


def write_archive(tar: Path, photographs: list[Path], size: int) -> None:
    """Write `photographs`, which may contain duplicates, in the format of the stage `augment`."""
    classes = sorted({photograph.parent.name for photograph in photographs})
    numbered = sorted((photograph.parent.name, i, photograph) for i, photograph in enumerate(photographs))
    with archive.create(tar, augment.COLUMNS) as writer:
        for name, number, photograph in numbered:
            row = {"label": classes.index(name), "class": name, "source": photograph.name, "operations": ""}
            writer.add(f"{name}/{number:05}.jpg", _rescaled(photograph, size), **row)


@cache
def _rescaled(photograph: Path, size: int) -> bytes:
    image = images.resize(images.decode(photograph.read_bytes(), photograph.name), size)
    return images.encode(image, 95)


def described(files: list[bytes], origin: str) -> str:
    """A description of `files`: their number, origin and median size."""
    shapes = [images.decode(data, origin).shape[:2] for data in files]
    height, width = np.median(shapes, axis=0).astype(int)
    size = sum(map(len, files)) / len(files) / 1000
    return f"{len(files)} photographs from {origin}: median {width} x {height}, {size:.0f} KB"


def machine() -> str:
    """The processor and the Python version."""
    name = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    return f"{os.cpu_count()} cores, {name}, {platform.system()}, Python {platform.python_version()}"


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table, each of `rows` as soon as it is available."""
    header = list(header)
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    print(flush=True)
