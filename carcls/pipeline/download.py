"""data/raw.tar with its csv: all photographs of the source; data/left_out.csv: the skipped files."""

import logging
from pathlib import Path

import pandas as pd

from carcls.data.collect import collect
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


def download(params: Params, root: Path) -> None:
    """Collect the photographs of params.data. Raises InputError as the source and `collect` do."""
    source = open_source(params, root / DOWNLOADS)
    for message in lookalikes(source.classes):
        log.warning(message)
    left_out = collect(source, root / "data/raw.tar", params.data.skip_unreadable)
    write_csv(root / "data/left_out.csv", pd.DataFrame(left_out, columns=LeftOut._fields))
    forget(root / DOWNLOADS)


def open_source(params: Params, downloads: Path) -> Source:
    """The source that params.data names. Raises InputError when it cannot be read."""
    data = params.data
    match data.source:
        case "demo":
            return demo.source(params.seed, data.demo.train_per_class, data.demo.test_per_class)
        case "folder":
            return open_folder(Path(str(data.folder)))
        case "kaggle":
            return open_kaggle(data.kaggle.dataset, downloads)
