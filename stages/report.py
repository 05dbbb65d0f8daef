"""report/index.html: every table and figure of the study; plots/fgsm/examples.png: its Figure 5."""

from pathlib import Path

from carcls import params
from carcls.base.startup import set_up_images, set_up_matplotlib
from stages import stage


@stage(set_up_images, set_up_matplotlib)
def main() -> None:
    from carcls.pipeline.report import report  # imports Matplotlib, which needs set_up_matplotlib

    report(params.load(), Path("."))


if __name__ == "__main__":
    main()
