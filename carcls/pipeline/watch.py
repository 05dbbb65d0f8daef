"""Links to the inputs outside of the project that params name, so that DVC detects their changes.

dvc.yaml cannot name a dependency that exists only for some params. So two stages write a link in data/watched
for each such input, or a text file if there is none. The stages that read the input depend on the link, which
DVC follows. The outs of the two stages are lists of the links, not the links: DVC hashes outs before it runs
a stage, and would fail on a dangling link before the stage could replace it.
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

    Raises InputError if data.folder is the source and does not exist. The stage that reads the table of
    labels reports that it is missing.
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
    """Write data/watched/weights.txt and, beside it, a link `weights`/ARCH for each architecture.

    The stage that reads a file reports that it is missing.
    """
    folder = root / FOLDER
    paths = {arch: params.weights_file(arch) for arch in get_args(Arch)}
    existing_files = {arch: path if path and path.exists() else None for arch, path in paths.items()}
    _link(folder / "weights.txt", {folder / f"weights/{arch}": path for arch, path in existing_files.items()})


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
