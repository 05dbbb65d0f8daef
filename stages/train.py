"""models/ARCH-CONFIG.safetensors: one variant, fine-tuned; with it its metrics and its history."""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from carcls import distributed, params, variant
from carcls.device import resolve_device
from carcls.files import write_csv, write_json
from carcls.model import save_model
from carcls.training import fit
from stages import stage

log = logging.getLogger(__name__)


@stage
def main() -> None:
    parser = argparse.ArgumentParser("stages.train", description=__doc__)
    parser.add_argument("arch", help="resnet18, resnet34, ...")
    parser.add_argument("config", help="a key of configs in params.yaml")
    arguments = parser.parse_args()
    settings = params.load()
    if settings.train.processes > 1 and not distributed.launched():
        distributed.launch(settings.train.processes, "stages.train", arguments.arch, arguments.config)
    else:
        with distributed.joined(resolve_device(settings.train.device)) as device:
            train(variant.prepare(settings, arguments.arch, arguments.config, Path("data"), device))


def train(cell: variant.Variant) -> None:
    name, main = f"{cell.arch}-{cell.config}", distributed.is_main()
    history = []
    for epoch in fit(cell.model, cell.train, cell.val, cell.recipe, checkpoint=cell.checkpoint):
        history.append(epoch)
        if main:
            log.info("%s, %s", name, epoch)
            write_csv(Path(f"plots/history/{name}.csv"), pd.DataFrame(map(asdict, history)))
    if main:
        write_json(Path(f"metrics/train/{name}.json"), cell.metrics(history))
        save_model(Path(f"models/{name}.safetensors"), cell.model, cell.info(history))
        cell.checkpoint.remove()


if __name__ == "__main__":
    main()
