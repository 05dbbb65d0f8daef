"""`carcls predict`: the most probable classes of pictures, and where the model looked."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from carcls.base.startup import cores, set_up
from carcls.cli.pictures import files, read
from carcls.errors import InputError, printable

if TYPE_CHECKING:  # --help pays for neither
    import numpy as np

    from carcls.inference.classifier import Classifier

    Answer = list[tuple[str, float]]

BATCH = 32  # images that are answered together
QUALITY = 95  # of the JPEGs of heat


def run(arguments: argparse.Namespace) -> None:
    from carcls.inference.classifier import Classifier

    set_up()
    classifier = Classifier.load(arguments.model)
    paths, unreadable = files(arguments.images)
    refused = [printable(str(error)) for error in unreadable]
    told, rows = [], csv.writer(sys.stdout, lineterminator="\n")
    if arguments.csv:
        rows.writerow(["image", "rank", "class", "probability"])
    for path, answer in _answers(classifier, paths, arguments.top, arguments.look):
        if isinstance(answer, InputError):
            refused.append(printable(str(answer)))
        elif arguments.json:
            top = [{"class": name, "probability": probability} for name, probability in answer]
            told.append({"image": str(path), "top": top})
        elif arguments.csv:
            rows.writerows((path, rank, *row) for rank, row in enumerate(answer, start=1))
        else:
            print(printable(str(path)))
            for rank, (name, probability) in enumerate(answer, start=1):
                print(f"{rank:4}  {probability:.4f}  {printable(name)}")
    if arguments.json:
        print(json.dumps(told, indent=2))  # ASCII, which every locale can print and every reader reads
    if refused:  # the other images have their answer all the same
        raise InputError("\nerror: ".join(refused))


def _answers(
    classifier: "Classifier", paths: Sequence[Path], top: int, look: Path | None
) -> Iterator[tuple[Path, "Answer | InputError"]]:
    """Each of `paths` in turn with its `top` most probable classes, or with what is wrong with it.

    With `look`, a folder, it also gets a picture there of what spoke for the first class.
    """

    def prepare(path: Path) -> "np.ndarray | InputError":
        try:
            return classifier.prepare(read(path), str(path))
        except InputError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        for start in tqdm(range(0, len(paths), BATCH), unit="batch", disable=len(paths) <= BATCH or None):
            some = paths[start : start + BATCH]
            prepared = list(pool.map(prepare, some))
            good = [
                (path, image)
                for path, image in zip(some, prepared, strict=True)
                if not isinstance(image, InputError)
            ]
            images = [image for _, image in good]
            answers = classifier.tops(images, top) if images else []
            if look and images:
                _look(classifier, good, [answer[0][0] for answer in answers], look)
            tops = iter(answers)
            for path, image in zip(some, prepared, strict=True):
                yield path, image if isinstance(image, InputError) else next(tops)


def _look(
    classifier: "Classifier", images: Sequence[tuple[Path, "np.ndarray"]], names: list[str], folder: Path
) -> None:
    """Write folder/STEM.jpg for each of `images`; a stem that is there gets a number."""
    from carcls.files import write_bytes
    from carcls.imageset.images import encode
    from carcls.study.heat import overlay

    maps = classifier.looks([image for _, image in images], names)
    for (path, image), heat in zip(images, maps, strict=True):
        stems = (path.stem if number == 1 else f"{path.stem}-{number}" for number in count(1))
        free = next(stem for stem in stems if not (folder / f"{stem}.jpg").exists())
        write_bytes(folder / f"{free}.jpg", encode(overlay(image, heat), QUALITY))
