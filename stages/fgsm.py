"""metrics/fgsm.json and plots/fgsm: the selected variant under attack."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_torch
from carcls.pipeline.fgsm import fgsm
from stages import stage


@stage(set_up_images, set_up_torch)
def main() -> None:
    fgsm(params.load(), Path("."))


if __name__ == "__main__":
    main()
