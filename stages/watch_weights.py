"""data/watched/weights: links to the weights files of the architectures, so that DVC detects changes."""

from pathlib import Path

from carcls import params
from carcls.pipeline.watch import watch_weights
from stages import stage


@stage()
def main() -> None:
    watch_weights(params.load(), Path("."))


if __name__ == "__main__":
    main()
