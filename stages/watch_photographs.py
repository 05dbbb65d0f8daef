"""data/watched/photographs: a link to data.folder, so that DVC sees the photographs change."""

from pathlib import Path

from carcls import params
from carcls.pipeline.watch import watch_photographs
from stages import stage


@stage()
def main() -> None:
    watch_photographs(params.load(), Path("."))


if __name__ == "__main__":
    main()
