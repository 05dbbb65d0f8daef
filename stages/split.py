"""data/split.csv: who is train, val and test."""

from pathlib import Path

from carcls import params
from carcls.data.archive import read_index
from carcls.data.split import assign
from carcls.files import write_csv
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    raw = read_index(Path("data/raw.tar"))
    write_csv(Path("data/split.csv"), assign(raw, settings.split, settings.seed))


if __name__ == "__main__":
    main()
