"""What params name outside of the project, where DVC can see it change.

DVC hashes the files that dvc.yaml names and cannot be told "this folder, if there is one". So two stages link
what params name into data/watched, with a file of a line where there is nothing to watch, and the stages that
read it depend on the link. DVC follows it; it is in a folder that DVC neither caches nor clears.
"""

from pathlib import Path
from typing import get_args

from carcls.data.sources.folder import existing
from carcls.params import Arch, Params


def watch_photographs(settings: Params, folder: Path) -> None:
    """Write `folder`/source. Raises InputError when data.folder is the source and is not there."""
    data = settings.data
    _link(folder / "source", existing(Path(str(data.folder))) if data.source == "folder" else None)


def watch_weights(settings: Params, folder: Path) -> None:
    """Write `folder`/ARCH for every architecture; of a missing file the stage that reads it tells."""
    for arch in get_args(Arch):
        path = settings.weights_file(arch)
        _link(folder / arch, path if path and path.exists() else None)


def _link(link: Path, target: Path | None) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    if target:
        link.symlink_to(target.absolute())
    else:
        link.write_text("Nothing outside of the project is to be watched.\n")
