"""models/ARCH-CONFIG.safetensors: one variant, fine-tuned; with it its metrics and its history."""

from dataclasses import asdict
from pathlib import Path

from carcls import params
from carcls.files import write_csv, write_json
from carcls.learning import distributed
from carcls.learning.device import resolve_device
from carcls.learning.model import save_model
from carcls.learning.variant import prepare
from stages import log, stage


@stage
def main(arch: str, config: str) -> None:
    settings, name = params.load(), f"{arch}-{config}"
    if settings.train.processes > 1 and not distributed.launched():
        return distributed.launch(settings.train.processes, "stages.train", arch, config)
    with distributed.joined(resolve_device(settings.train.device)) as device:
        variant, history = prepare(settings, arch, config, Path("data"), device), []
        for epoch in variant.fit():
            history.append(epoch)
            if distributed.is_main():
                log.info("%s, %s", name, epoch)
                write_csv(Path(f"plots/history/{name}.csv"), list(map(asdict, history)))
        if distributed.is_main():
            write_json(Path(f"metrics/train/{name}.json"), variant.metrics(history))
            save_model(Path(f"models/{name}.safetensors"), variant.model, variant.info(history))
            variant.checkpoint.remove()


if __name__ == "__main__":
    main()
