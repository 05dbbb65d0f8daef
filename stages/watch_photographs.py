"""data/watched/{photographs,labels}: links to data.folder and data.labels, so that DVC sees them change."""

from pathlib import Path

from carcls import params
from carcls.pipeline.watch import watch_photographs
from stages import stage


@stage()
def main() -> None:
    watch_photographs(params.load(), Path("."))


if __name__ == "__main__":
    main()
