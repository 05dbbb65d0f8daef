"""The training process behind the page: `python -m carcls.web.worker FOLDER`, FOLDER holding params.yaml.

It does what the stages download to train do and leaves model.safetensors, history.csv and its test images
in FOLDER. Standard output carries its progress, a line of JSON each time, and standard error is its log.
SIGINT stops it with the best epoch kept. So does the end of standard input: the server is gone then.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from carcls import params, process
from carcls.data import augment
from carcls.data.archive import read_index
from carcls.data.collect import collect, open_source
from carcls.data.split import assign
from carcls.errors import InputError, reported
from carcls.files import write_csv
from carcls.learning.device import resolve_device
from carcls.learning.model import save_backbone, save_model
from carcls.learning.training import Epoch, Recipe, fit
from carcls.learning.variant import Variant, prepare
from carcls.learning.weights import backbone

log = logging.getLogger(__name__)

GRACE = 10  # seconds to save the best epoch in, once the server is gone
PAUSE = 0.2  # seconds between two lines of progress


def main() -> None:
    process.set_up()
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_end_with_server, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work = folder / ".work"
    try:
        with reported():
            run(params.load(folder / "params.yaml"), folder, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stop(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not break the saving
    raise KeyboardInterrupt


def _end_with_server() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that waits in it breaks the end of the program
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def say(**progress) -> None:
    """One line of progress, for `runs.Run`."""
    try:
        print(json.dumps(progress), flush=True)
    except BrokenPipeError:  # the server is gone; _end_with_server sees to it
        pass


def run(settings: params.Params, folder: Path, work: Path) -> None:
    """From photographs to model.safetensors in `folder`; `work` holds what is needed on the way."""
    say(doing="Reading the photographs")
    raw = work / "raw.tar"
    collect(open_source(settings.data, settings.seed, work), raw, settings.data.skip_unreadable)
    split, _ = assign(read_index(raw), settings.split, settings.seed)
    say(doing="Rescaling and augmenting the images")
    sizes = {"image_size": settings.data.image_size, "seed": settings.seed}
    augment.build(raw, split, work / "images", settings=settings.augment, **sizes)
    for name in ("test.tar", "test.csv"):  # the page offers them as examples
        os.replace(work / "images" / name, folder / name)

    arch, config = settings.model.arch, settings.model.config
    if settings.configs[config].pretrained:
        say(doing="Fetching the pretrained weights")
        save_backbone(work / f"weights/{arch}.safetensors", backbone(settings, arch))
    variant = prepare(settings, arch, config, work, resolve_device(settings.train.device))
    images = f"{len(variant.train)} training and {len(variant.val)} validation images"
    log.info("%d classes, %s", len(variant.train.classes), images)
    history = train(variant, folder / "history.csv")
    if not history:
        raise InputError("Stopped before the first epoch had ended: there is no model to keep.")
    info = variant.info(history)
    save_model(folder / "model.safetensors", variant.model, info)
    log.info("kept epoch %d, validation F1 %.4f", info.epoch, info.val_f1)


def train(variant: Variant, csv: Path) -> list[Epoch]:
    """The epochs of `variant`, each written to `csv` as it ends; a Stop ends them early."""
    say(doing="Preparing the first epoch")
    history: list[Epoch] = []
    bar = _progress(variant.recipe)
    try:
        with closing(fit(variant.model, variant.train, variant.val, variant.recipe, bar=bar)) as epochs:
            for epoch in epochs:
                log.info("%s", epoch)
                history.append(epoch)
                write_csv(csv, list(map(asdict, history)))
    except KeyboardInterrupt:
        log.info("stopped")
    return history


def _progress(recipe: Recipe) -> type[tqdm]:
    """A tqdm for `fit` that says how far training is instead of drawing a bar."""
    start, epoch = time.monotonic(), 0

    class Progress(tqdm):
        def __init__(self, total: int, **_) -> None:
            nonlocal epoch
            super().__init__(total=total, disable=True)
            epoch += 1
            self.images, self.done, self.said = total, 0, 0.0

        def update(self, n: int = 1) -> None:
            self.done += n
            now = time.monotonic()
            if now - self.said < PAUSE and self.done < self.images:
                return
            self.said = now
            behind = (epoch - 1) * self.images + self.done
            left = (now - start) * (recipe.epochs * self.images / behind - 1)
            say(
                epoch=epoch,
                epochs=recipe.epochs,
                batch=-(-self.done // recipe.batch_size),
                batches=-(-self.images // recipe.batch_size),
                share=behind / (recipe.epochs * self.images),
                left=left,
            )

    return Progress


if __name__ == "__main__":
    main()
