"""data/watched/weights: a link to each architecture's file of weights, so that DVC sees it change."""

from pathlib import Path

from carcls import params
from carcls.pipeline.watch import watch_weights
from stages import stage


@stage()
def main() -> None:
    watch_weights(params.load(), Path("."))


if __name__ == "__main__":
    main()
