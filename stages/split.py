"""data/split.csv and data/copies.csv: training, validation or test for each photograph; the duplicates."""

from pathlib import Path

from carcls import params
from carcls.pipeline.split import split
from stages import stage


@stage()
def main() -> None:
    split(params.load(), Path("."))


if __name__ == "__main__":
    main()
