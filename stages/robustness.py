"""plots/{fgsm,corruptions,calibration}/variants.csv: every variant on validation originals."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_torch
from carcls.pipeline.robustness import robustness
from stages import stage


@stage(set_up_images, set_up_torch)
def main() -> None:
    robustness(params.load(), Path("."))


if __name__ == "__main__":
    main()
