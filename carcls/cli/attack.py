"""`carcls attack`: attack images with FGSM, PGD or noise and draw them like Figure 5 of the paper."""

import argparse

from carcls.base.startup import set_up
from carcls.cli.pictures import files, read
from carcls.errors import InputError
from carcls.evaluation.example import STEPS, AttackSpec

MOST = 20  # rows in the figure


def run(arguments: argparse.Namespace) -> None:
    from carcls.files import write_bytes
    from carcls.inference.classifier import Classifier
    from carcls.results.settings import preset
    from carcls.study.figures import fgsm_examples, png
    from carcls.study.wording import score

    paths, unreadable = files(arguments.images)
    if unreadable:
        raise unreadable[0]
    if len(paths) > MOST:
        raise InputError(
            f"The figure has at most {MOST} rows, but there are {len(paths)} images: name fewer images."
        )
    if arguments.steps is not None and arguments.attack != "pgd":
        raise InputError("--steps only applies to PGD: add --attack pgd or remove --steps.")
    steps = STEPS if arguments.steps is None else arguments.steps
    spec = AttackSpec(arguments.attack, arguments.epsilon, steps, arguments.target)
    set_up()
    classifier = Classifier.load(arguments.model)
    images = [(classifier.prepare(read(path), str(path)), path.name) for path in paths]
    results = [classifier.attack(image, name, spec, preset().seed) for image, name in images]
    for result in results:
        answers = result.row.before[0], result.row.after[0], result.unrounded
        before, after, unrounded = (f"{name} {score(probability)}" for name, probability in answers)
        print(f"{result.row.name}: {before} -> {after} (before rounding: {unrounded})")
        if result.target:
            name, first, then = result.target
            print(f"{result.row.name}: target {name} {score(first)} -> {score(then)}")
    write_bytes(arguments.out, png(fgsm_examples([result.row for result in results])))
    print(arguments.out)
