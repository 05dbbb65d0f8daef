"""models/ARCH-CONFIG.safetensors: one fine-tuned variant, with its metrics and history."""

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

    After each epoch, the history is written to `history` (None: plots/history/ARCH-CONFIG.csv below `root`).
    `bar` shows the images of an epoch. With `interruptible`, KeyboardInterrupt ends the training, and the
    best or last epoch is kept. A killed training resumes after its last completed epoch. Raises InputError
    like `prepare` and `training.fit`.
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
            raise InputError("The training stopped in its first epoch, so there is no model: start it again.")
        if distributed.is_main():
            metrics = variant.metrics(histories[0]) | spread(histories, params.train.keep)
            write_json(root / f"metrics/train/{variant.name}.json", metrics)
            save_model(root / f"models/{variant.name}.safetensors", variant.model, variant.info(histories[0]))
            for checkpoint in checkpoints:  # not earlier: after a kill, completed repeats resume from these
                checkpoint.remove()


def _fit(
    variant: Variant, histories: list[list[Epoch]], csv: Path, bar: type[tqdm], interruptible: bool
) -> None:
    """Train `variant`. Append its epochs to the last of `histories`, and write all of these to `csv`."""
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
