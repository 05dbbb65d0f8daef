"""data/split.csv: who is train, val and test; data/copies.csv: which pictures are there twice."""

from pathlib import Path

from carcls import params
from carcls.data.split import assign
from carcls.files import write_csv
from carcls.imageset.archive import read_index
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    raw = read_index(Path("data/raw.tar"))
    split, copies = assign(raw, settings.split, settings.seed)
    write_csv(Path("data/split.csv"), split)
    write_csv(Path("data/copies.csv"), copies)


if __name__ == "__main__":
    main()
