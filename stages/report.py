"""report/index.html: every table and figure of the study on one self-contained page."""

from pathlib import Path

from carcls import params
from carcls.files import write_text
from carcls.study.report import build
from stages import stage


@stage
def main() -> None:
    write_text(Path("report/index.html"), build(params.load()))


if __name__ == "__main__":
    main()
