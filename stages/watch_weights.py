"""data/watched/weights: a link to each architecture's file of weights, so that DVC sees it change."""

from pathlib import Path

from carcls import params
from carcls.data.watched import watch_weights
from stages import stage


@stage
def main() -> None:
    watch_weights(params.load(), Path("data/watched"))


if __name__ == "__main__":
    main()
