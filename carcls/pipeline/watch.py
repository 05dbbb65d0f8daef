"""What params name outside of the project, where DVC can see it change.

DVC hashes the files that dvc.yaml names and cannot be told "this folder, if there is one". So two stages link
what params name into data/watched, with a file of a line where there is nothing to watch, and the stages that
read it depend on the link, which DVC follows. The output of the two is the list of what is linked: an output
is hashed before its stage runs, and a link to what is gone would stop DVC before the stage could mend it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from carcls.data.sources.folder import existing
from carcls.files import write_text
from carcls.params import Arch, Params

FOLDER = "data/watched"


def watch_photographs(params: Params, root: Path) -> None:
    """Write data/watched/photographs.txt and beside it the links `photographs` and `labels`.

    Raises InputError when data.folder is the source and is not there. Of a missing table of labels, the stage
    that reads it tells.
    """
    data, folder = params.data, root / FOLDER
    source = existing(Path(str(data.folder))) if data.source == "folder" else None
    labels = Path(data.labels).expanduser() if data.labels else None
    links = {
        folder / "photographs": source,
        folder / "labels": labels if labels and labels.exists() else None,
    }
    _link(folder / "photographs.txt", links)


def watch_weights(params: Params, root: Path) -> None:
    """Write data/watched/weights.txt and beside it a link `weights`/ARCH for every architecture.

    Of a file that is not there, the stage that reads it tells.
    """
    folder = root / FOLDER
    paths = {arch: params.weights_file(arch) for arch in get_args(Arch)}
    found = {arch: path if path and path.exists() else None for arch, path in paths.items()}
    _link(folder / "weights.txt", {folder / f"weights/{arch}": path for arch, path in found.items()})


def _link(listed: Path, targets: Mapping[Path, Path | None]) -> None:
    lines = []
    for link, target in targets.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        if target:
            link.symlink_to(target.absolute())
        else:
            link.write_text("Nothing outside of the project is to be watched.\n")
        lines.append(f"{link.name}: {target.absolute() if target else 'nothing'}\n")
    write_text(listed, "".join(lines))
