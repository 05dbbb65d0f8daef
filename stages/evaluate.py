"""metrics/test.json and plots/test: the selected variant on the test set."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_matplotlib, set_up_torch
from carcls.pipeline.evaluate import evaluate
from stages import stage


@stage(set_up_images, set_up_torch, set_up_matplotlib)  # captum imports Matplotlib
def main() -> None:
    evaluate(params.load(), Path("."))


if __name__ == "__main__":
    main()
