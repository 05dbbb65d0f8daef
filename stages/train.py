"""models/ARCH-CONFIG.safetensors: one variant, fine-tuned; with it its metrics and its history."""

from pathlib import Path

from carcls import params
from carcls.files import write_csv, write_json
from carcls.learning import distributed
from carcls.learning.device import resolve_device
from carcls.learning.model import save_model
from carcls.learning.training import Epoch
from carcls.learning.variant import history_rows, prepare, spread
from stages import log, stage


@stage
def main(arch: str, config: str) -> None:
    settings, name = params.load(), f"{arch}-{config}"
    if settings.train.processes > 1 and not distributed.launched():
        return distributed.launch(settings.train.processes, "stages.train", arch, config)
    with distributed.joined(resolve_device(settings.train.device)) as device:
        variant, checkpoints = prepare(settings, arch, config, Path("data"), device), []
        histories: list[list[Epoch]] = []
        for repeat in variant.repeats(settings.train.repeats):
            histories.append([])
            checkpoints.append(repeat.checkpoint)  # a repeat that has ended is not trained again after a kill
            for epoch in repeat.fit():
                histories[-1].append(epoch)
                if distributed.is_main():
                    log.info("%s, %s", repeat.name, epoch)
                    write_csv(Path(f"plots/history/{name}.csv"), history_rows(histories))
        if distributed.is_main():
            write_json(Path(f"metrics/train/{name}.json"), variant.metrics(histories[0]) | spread(histories))
            save_model(Path(f"models/{name}.safetensors"), variant.model, variant.info(histories[0]))
            for checkpoint in checkpoints:
                checkpoint.remove()


if __name__ == "__main__":
    main()
