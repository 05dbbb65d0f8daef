"""data/variants.csv: the variants of the study."""

from pathlib import Path

from carcls import params
from carcls.pipeline.variants import variants
from stages import stage


@stage()
def main() -> None:
    variants(params.load(), Path("."))


if __name__ == "__main__":
    main()
