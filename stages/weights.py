"""data/weights/ARCH.safetensors: the backbone from which pretrained variants of an architecture start."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_torch
from carcls.pipeline.weights import weights
from stages import stage


@stage(set_up_images, set_up_torch)
def main(arch: str) -> None:
    weights(params.load(), Path("."), arch)


if __name__ == "__main__":
    main()
