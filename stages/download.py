"""data/raw.tar: every photograph of the source, its class and its official split."""

from pathlib import Path

from carcls import params
from carcls.data.collect import collect, open_source
from carcls.data.sources.kaggle import forget
from stages import stage

DOWNLOADS = Path("data/.kaggle")  # kept through a kill, so that a download resumes


@stage
def main() -> None:
    settings = params.load()
    source = open_source(settings.data, settings.seed, DOWNLOADS)
    collect(source, Path("data/raw.tar"), settings.data.skip_unreadable)
    forget(DOWNLOADS)


if __name__ == "__main__":
    main()
