"""metrics/corruptions.json and plots/corruptions: the selected variant under common corruptions."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_torch
from carcls.pipeline.corruptions import corruptions
from stages import stage


@stage(set_up_images, set_up_torch)
def main() -> None:
    corruptions(params.load(), Path("."))


if __name__ == "__main__":
    main()
