"""data/raw.tar and data/left_out.csv: all photographs of the source, and the skipped files."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images
from carcls.pipeline.download import download
from stages import stage


@stage(set_up_images)
def main() -> None:
    download(params.load(), Path("."))


if __name__ == "__main__":
    main()
