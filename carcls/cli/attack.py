"""`carcls attack`: pictures under FGSM, as the paper's Figure 5."""

import argparse

from carcls.cli.pictures import files, read
from carcls.errors import InputError
from carcls.process import set_up

MOST = 20  # rows of the figure


def run(arguments: argparse.Namespace) -> None:
    from carcls.files import write_bytes
    from carcls.learning.inference import Classifier
    from carcls.study.figures import fgsm_examples, png

    paths = files(arguments.images)
    if len(paths) > MOST:
        raise InputError(f"The figure has a row a picture, {MOST} at most: name fewer than {len(paths)}.")
    set_up()
    classifier = Classifier.load(arguments.model)
    images = [(classifier.prepare(read(path), str(path)), path.name) for path in paths]
    rows = [classifier.attack(image, name, arguments.epsilon) for image, name in images]
    for row in rows:
        (before, sure), (after, then) = row.before[0], row.after[0]
        print(f"{row.name}: {before} {sure:.4f} -> {after} {then:.4f}")
    write_bytes(arguments.out, png(fgsm_examples(rows)))
    print(arguments.out)
