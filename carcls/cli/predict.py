"""`carcls predict`: the most probable classes of images, and heat maps."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from carcls.base.startup import cores, set_up
from carcls.cli.pictures import files, read
from carcls.cli.sort import Sorter
from carcls.errors import InputError, explain, printable
from carcls.files import UnixLines

if TYPE_CHECKING:  # --help needs neither
    import numpy as np

    from carcls.inference.classifier import Answer, Classifier

    Top = Sequence[tuple[str, float | None]]

MIN_PROBABILITY = 0.5  # above, a class is more probable than all others together
BATCH = 32  # images per forward pass
QUALITY = 95  # JPEG quality of heat maps


def run(arguments: argparse.Namespace) -> None:
    from carcls.inference.classifier import Classifier

    if not arguments.sort and (arguments.link or arguments.min_probability is not None):
        raise InputError("--link and --min-probability change what --sort does: add --sort FOLDER.")
    set_up()
    classifier = Classifier.load(arguments.model)
    if arguments.reject:
        classifier.check_novelty()
    paths, unreadable = files(arguments.images)
    if arguments.sort:
        _sort(arguments, classifier, paths, [str(error) for error in unreadable])
        return
    refused = [str(error) for error in unreadable]
    results, rows = [], csv.writer(UnixLines(sys.stdout))
    if arguments.csv:
        rows.writerow(["image", "rank", "class", "probability", "novelty"])
    for path, answer, problem in _answers(classifier, paths, arguments.top, arguments.look):
        if problem:
            refused.append(problem)
        if not answer:
            continue
        top = answer.classes(arguments.reject)
        if arguments.json:
            classes = [{"class": name, "probability": probability} for name, probability in top]
            results.append({"image": str(path), "novelty": answer.novelty, "top": classes})
        elif arguments.csv:
            rows.writerows((path, rank, *row, answer.novelty) for rank, row in enumerate(top, start=1))
        else:
            _print(path, top, answer.novelty, classifier.info.novelty_threshold)
    if arguments.json:
        print(json.dumps(results, indent=2))  # ASCII, which every locale can print
    if arguments.look and not refused:
        print(f"{classifier.heat_title()}: {printable(str(arguments.look))}", file=sys.stderr)
    if refused:  # after the predictions of the other images
        raise InputError(*dict.fromkeys(refused))


def _sort(
    arguments: argparse.Namespace, classifier: "Classifier", paths: Sequence[Path], refused: list[str]
) -> None:
    """Sort `paths` into folders, then raise InputError with the messages of unreadable files, if any."""
    threshold = MIN_PROBABILITY if arguments.min_probability is None else arguments.min_probability
    sorter = Sorter(arguments.sort, classifier.info.classes, arguments.link, threshold)
    with sorter.opened():
        for path, answer, problem in _answers(classifier, paths, 1, arguments.look):
            if problem:
                refused.append(problem)
            if answer:
                sorter.add(path, *answer.classes(arguments.reject)[0])
    print(printable(sorter.summary()))
    if refused:
        raise InputError(*dict.fromkeys(refused))


def _print(path: Path, top: "Top", novelty: float | None, threshold: float | None) -> None:
    print(printable(str(path)))
    for rank, (name, probability) in enumerate(top, start=1):
        print(f"{rank:4}  {'     -' if probability is None else f'{probability:.4f}'}  {printable(name)}")
    if novelty is not None:
        print(f"      {novelty:.4f}  novelty (threshold {threshold:.4f})")


def _answers(
    classifier: "Classifier", paths: Sequence[Path], top: int, look: Path | None
) -> Iterator[tuple[Path, "Answer | None", str | None]]:
    """Each of `paths` with its prediction, limited to `top` classes, and an error message or None.

    The prediction is None if the file cannot be read. `look` is a folder for a heat map of each image.
    """

    def prepare(path: Path) -> "np.ndarray | InputError":
        try:
            return classifier.prepare(read(path), str(path))
        except InputError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        for start in tqdm(range(0, len(paths), BATCH), unit="batch", disable=len(paths) <= BATCH or None):
            some = paths[start : start + BATCH]
            prepared = dict(zip(some, pool.map(prepare, some), strict=True))
            problems = {path: str(image) for path, image in prepared.items() if isinstance(image, InputError)}
            good = {path: image for path, image in prepared.items() if not isinstance(image, InputError)}
            answers = dict(zip(good, classifier.answers([*good.values()], top) if good else [], strict=True))
            if look and good:
                problems |= _look(classifier, good, [answer.top[0][0] for answer in answers.values()], look)
            for path in some:
                yield path, answers.get(path), problems.get(path)


def _look(
    classifier: "Classifier", images: Mapping[Path, "np.ndarray"], names: list[str], folder: Path
) -> dict[Path, str]:
    """Write the heat map of each of `images` to folder/STEM.jpg, with a number if that file exists.

    Returns the error messages of those that could not be written.
    """
    from carcls.files import write_bytes
    from carcls.imageset.images import encode
    from carcls.study.heat import overlay

    maps = classifier.looks([*images.values()], names)
    problems = {}
    for (path, image), heat in zip(images.items(), maps, strict=True):
        stems = (path.stem if number == 1 else f"{path.stem}-{number}" for number in count(1))
        try:
            free = next(stem for stem in stems if not (folder / f"{stem}.jpg").exists())
            write_bytes(folder / f"{free}.jpg", encode(overlay(image, heat), QUALITY))
        except OSError as error:
            problems[path] = str(explain(error))
    return problems
