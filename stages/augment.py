"""data/images/{train,val,test}.tar: the photographs at image_size, and copies that balance the classes."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images
from carcls.pipeline.augment import augment
from stages import stage


@stage(set_up_images)
def main() -> None:
    augment(params.load(), Path("."))


if __name__ == "__main__":
    main()
