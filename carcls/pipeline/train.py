"""models/ARCH-CONFIG.safetensors: one variant, fine-tuned; with it its metrics and its history."""

import logging
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from carcls.errors import InputError
from carcls.files import write_csv, write_json
from carcls.learning import distributed
from carcls.learning.checkpoint import Checkpoint
from carcls.learning.device import resolve_device
from carcls.learning.model import save_model
from carcls.learning.training import Epoch
from carcls.learning.variant import Variant, history_rows, prepare, spread
from carcls.params import Params

log = logging.getLogger(__name__)


def train(
    params: Params,
    root: Path,
    arch: str,
    config: str,
    *,
    history: Path | None = None,
    bar: type[tqdm] = tqdm,
    interruptible: bool = False,
) -> None:
    """Train the variant params.train.repeats times and keep the model of the first.

    The history is written to `history` (None: plots/history/ARCH-CONFIG.csv below `root`) as epochs end, and
    `bar` shows the images of an epoch. With `interruptible`, KeyboardInterrupt ends the training and keeps
    the best or last epoch all the same. A training that was killed continues after its last epoch. Raises
    InputError as `prepare` and `training.fit`.
    """
    with distributed.joined(resolve_device(params.train.device)) as device:
        variant = prepare(params, root, arch, config, device)
        images = f"{len(variant.train)} training and {len(variant.val)} validation images"
        log.info("%s: %d classes, %s", variant.name, len(variant.train.classes), images)
        csv = history or root / f"plots/history/{variant.name}.csv"
        histories: list[list[Epoch]] = []
        checkpoints: list[Checkpoint] = []
        for repeat in variant.repeats(params.train.repeats):
            histories.append([])
            checkpoints.append(repeat.checkpoint)
            _fit(repeat, histories, csv, bar, interruptible)
        if not histories[0]:
            raise InputError("The training stopped before its first epoch ended: there is no model to keep.")
        if distributed.is_main():
            metrics = variant.metrics(histories[0]) | spread(histories, params.train.keep)
            write_json(root / f"metrics/train/{variant.name}.json", metrics)
            save_model(root / f"models/{variant.name}.safetensors", variant.model, variant.info(histories[0]))
            for checkpoint in checkpoints:  # not earlier: a finished repeat is not trained again after a kill
                checkpoint.remove()


def _fit(
    variant: Variant, histories: list[list[Epoch]], csv: Path, bar: type[tqdm], interruptible: bool
) -> None:
    """Train `variant`, appending its epochs to the last of `histories` and writing all of these to `csv`."""
    try:
        with closing(variant.fit(bar)) as epochs:
            for epoch in epochs:
                histories[-1].append(epoch)
                if distributed.is_main():
                    log.info("%s, %s", variant.name, epoch)
                    write_csv(csv, history_rows(histories))
    except KeyboardInterrupt:
        if not interruptible:
            raise
        log.info("stopped; the %s epoch is kept", variant.recipe.keep)
