"""The training process behind the page: `python -m carcls.web.worker FOLDER`, FOLDER holding params.yaml.

It does what the stages download to train do and leaves model.safetensors, history.csv and its test images in
FOLDER. Standard output carries its progress, a line of JSON each time, and standard error is its log. SIGINT
stops it with the best epoch kept. So does the end of standard input: the server is gone then, however it went.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from carcls import augment, params
from carcls.archive import read_index
from carcls.collect import collect, open_source
from carcls.device import resolve_device, resolve_precision
from carcls.errors import InputError, reported
from carcls.files import write_csv
from carcls.loading import ArchiveSet
from carcls.model import MEAN, STD, ModelInfo, build, save_model
from carcls.split import assign
from carcls.training import Epoch, Recipe, fit
from carcls.weights import backbone

log = logging.getLogger(__name__)

GRACE = 10  # seconds to save the best epoch in, once the server is gone
PAUSE = 0.2  # seconds between two lines of progress


def main() -> None:
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
    sys.stdin.buffer.read()
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
    """Everything from photographs to model.safetensors in `folder`; `work` holds what is needed on the way."""
    say(doing="Reading the photographs")
    raw = work / "raw.tar"
    collect(open_source(settings.data, settings.seed, work), raw, settings.data.skip_unreadable)
    split = assign(read_index(raw), settings.split, settings.seed)
    say(doing="Rescaling and augmenting the images")
    sizes = {"image_size": settings.data.image_size, "seed": settings.seed}
    augment.build(raw, split, work / "images", settings=settings.augment, **sizes)
    train, val = (ArchiveSet(work / f"images/{name}.tar") for name in ("train", "val"))
    for name in ("test.tar", "test.csv"):  # the page offers them as examples
        os.replace(work / "images" / name, folder / name)

    arch, config = settings.model.arch, settings.model.config
    model = build(arch, len(train.classes), seed=settings.seed)
    if settings.configs[config].pretrained:
        say(doing="Fetching the pretrained weights")
        model.load_state_dict(backbone(settings, arch), strict=False)  # all but the classifier
    log.info("%d classes, %d training and %d validation images", len(train.classes), len(train), len(val))
    history = fine_tune(model, train, val, settings, folder / "history.csv")
    if not history:
        raise InputError("Stopped before the first epoch had ended: there is no model to keep.")
    best = max(history, key=lambda epoch: epoch.val_f1)  # the first of equals, as `fit` keeps it
    info = ModelInfo(arch, config, train.classes, train.size, MEAN, STD, best.val_f1, best.epoch)
    save_model(folder / "model.safetensors", model, info)
    log.info("kept epoch %d, validation F1 %.4f", best.epoch, best.val_f1)


def fine_tune(model, train: ArchiveSet, val: ArchiveSet, settings: params.Params, csv: Path) -> list[Epoch]:
    """The epochs of `training.fit`, each written to `csv` as it ends; a Stop ends them early."""
    recipe = _recipe(settings)
    say(doing="Preparing the first epoch")
    history: list[Epoch] = []
    try:
        with closing(fit(model, train, val, recipe, bar=_progress(recipe))) as epochs:
            for epoch in epochs:
                log.info("%s", epoch)
                history.append(epoch)
                write_csv(csv, pd.DataFrame([asdict(row) for row in history]))
    except KeyboardInterrupt:
        log.info("stopped")
    return history


def _recipe(settings: params.Params) -> Recipe:
    train, device = settings.train, resolve_device(settings.train.device)
    return Recipe(
        frozen_layers=settings.configs[settings.model.config].frozen_layers,
        epochs=train.epochs,
        patience=train.patience,
        optimizer=train.optimizer,
        batch_size=train.batch_size,
        lr=train.lr,
        weight_decay=train.weight_decay,
        device=device,
        precision=resolve_precision(train.precision, device),
        seed=settings.seed,
    )


def _progress(recipe: Recipe) -> Callable[..., tqdm]:
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
