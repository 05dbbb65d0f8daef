"""report/index.html: all tables and figures of the study; plots/fgsm/examples.png: Figure 5."""

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
