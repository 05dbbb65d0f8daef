"""Experiments that DVC runs in a temporary copy of the project: `dvc exp run --temp` and `--queue`."""

from pathlib import Path
from urllib.parse import unquote

from carcls.errors import InputError

COPIES = "/.dvc/tmp/exps/"  # where DVC 3.67.1 makes them


def make_collectable() -> None:
    """Make sure that DVC can collect the experiment, if the current folder is such a temporary copy.

    DVC commits an experiment in the copy's own Git repository, fetches the commit from there and, in version
    3.67.1, ignores it when the fetch fails. Raises InputError where the fetch would fail.
    """
    folder = Path.cwd()
    copy = next((path for path in (folder, *folder.parents) if (path / ".git").exists()), folder)
    if COPIES not in copy.as_posix():
        return
    if unquote(str(copy)) != str(copy):  # libgit2 decodes the path as that of a URL
        raise InputError(
            f"DVC would lose this experiment, because the path of the project contains a percent-encoded "
            f"character: {copy}. Rename the folder, or run the experiment without --temp and --queue."
        )
    _share_objects(copy)


def _share_objects(copy: Path) -> None:
    """Let `copy` store its Git objects in the project's repository, if that is a shallow clone.

    The copy lacks `.git/shallow`, so a fetch from it looks for a parent that a shallow clone does not have.
    With shared objects nothing is left to fetch but the reference.
    """
    objects = copy / ".git/objects"
    if objects.is_symlink():
        return
    from dulwich.repo import Repo

    with Repo.discover(copy.parent) as clone:
        git = Path(clone.commondir()).resolve()  # also of a submodule
    if not (git / "shallow").exists():
        return
    for path in objects.glob("??/*"):  # what DVC staged for the stages that it took from its cache
        stored = git / path.relative_to(copy / ".git")
        stored.parent.mkdir(exist_ok=True)
        path.replace(stored)
    objects.rename(objects.with_name("objects.before"))
    objects.symlink_to(git / "objects")
