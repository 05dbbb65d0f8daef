"""report/index.html: every table and figure of the study; plots/fgsm/examples.png: its Figure 5."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images
from carcls.pipeline.report import report
from stages import stage


@stage(set_up_images)
def main() -> None:
    report(params.load(), Path("."))


if __name__ == "__main__":
    main()
