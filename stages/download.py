"""data/raw.tar: every photograph of the source, its class and its official split; and what was left out."""

from pathlib import Path

import pandas as pd

from carcls import params
from carcls.data.collect import collect, open_source
from carcls.data.sources.kaggle import forget
from carcls.data.sources.sift import LeftOut
from carcls.files import write_csv
from stages import stage

DOWNLOADS = Path("data/.kaggle")  # kept through a kill, so that a download resumes


@stage
def main() -> None:
    settings = params.load()
    source = open_source(settings.data, settings.seed, DOWNLOADS)
    left_out = collect(source, Path("data/raw.tar"), settings.data.skip_unreadable)
    write_csv(Path("data/left_out.csv"), pd.DataFrame(left_out, columns=LeftOut._fields))
    forget(DOWNLOADS)


if __name__ == "__main__":
    main()
