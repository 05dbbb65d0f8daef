"""data/raw.tar with its csv: all photographs of the source; data/left_out.csv: the skipped files."""

import logging
from pathlib import Path

import pandas as pd

from carcls.data.collect import collect
from carcls.data.labels import Label, Labels, open_labelled, read
from carcls.data.sources import Source
from carcls.data.sources.filter import LeftOut
from carcls.data.sources.folder import open_folder
from carcls.data.sources.kaggle import forget, open_kaggle
from carcls.data.sources.layout import lookalikes
from carcls.demo import photographs as demo
from carcls.files import write_csv
from carcls.params import Params

log = logging.getLogger(__name__)

DOWNLOADS = "data/.kaggle"  # kept if the stage is killed, so that the download resumes


def download(params: Params, root: Path) -> list[Label]:
    """Collect the photographs of params.data. Returns the rows of data.labels that matched one.

    Raises InputError as the source, `labels.read` and `collect` do.
    """
    decided = read(Path(params.data.labels)) if params.data.labels else None
    source = open_source(params, root / DOWNLOADS, decided)
    for message in lookalikes(source.classes):
        log.warning(message)
    left_out = collect(source, root / "data/raw.tar", params.data.skip_unreadable, decided)
    write_csv(root / "data/left_out.csv", pd.DataFrame(left_out, columns=LeftOut._fields))
    forget(root / DOWNLOADS)
    return list(decided.used.values()) if decided else []


def open_source(params: Params, downloads: Path, decided: Labels | None) -> Source:
    """The source that params.data names. Raises InputError when it or `decided` cannot be used."""
    data = params.data
    match data.source:
        case "demo":
            return demo.source(data.demo.seed, data.demo.train_per_class, data.demo.test_per_class)
        case "folder" if decided:
            return open_labelled(Path(str(data.folder)), decided)
        case "folder":
            return open_folder(Path(str(data.folder)))
        case "kaggle":
            return open_kaggle(data.kaggle.dataset, downloads)
