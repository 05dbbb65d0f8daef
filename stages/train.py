"""models/ARCH-CONFIG.safetensors: one fine-tuned variant, with its metrics and history."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_torch
from carcls.learning.distributed import launch, launched
from carcls.pipeline.train import train
from stages import stage


@stage(set_up_images, set_up_torch)
def main(arch: str, config: str) -> None:
    settings = params.load()
    if settings.train.processes > 1 and not launched():
        launch(settings.train.processes, "stages.train", arch, config)
    else:
        train(settings, Path("."), arch, config)


if __name__ == "__main__":
    main()
