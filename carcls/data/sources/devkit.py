"""The original layouts of Stanford Cars: folders of numbered images, labelled by MATLAB files.

The devkit's `cars_train_annos.mat` and `cars_test_annos_withlabels.mat` label `cars_train/` and `cars_test/`,
at any depth. `cars_annos.mat` labels `car_ims/`, all images in one folder. It cannot label cars_train and
cars_test, because it numbers the images in another order, although a popular copy of the data set has only
this file.
"""

import io
import logging
import posixpath
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from carcls.data.sources import layout
from carcls.data.sources.filter import LeftOut, filter_images
from carcls.data.sources.layout import Arranged, Labelled, place
from carcls.errors import InputError

TRAIN, TEST, ALL = "cars_train", "cars_test", "car_ims"

Labels = dict[tuple[str, str], tuple[str, str]]  # (folder, file) -> (class name, split)

log = logging.getLogger(__name__)


def arrange(paths: Iterable[str], read: Callable[[str], bytes], origin: str) -> Arranged:
    """Like `layout.arrange`, for a tree of class folders or of the devkit, whichever `paths` contains.

    `read` returns the content of a path. Test images without labels are skipped with a warning. Raises
    InputError like `layout.arrange`, and if a .mat file is damaged or another image has no label.
    """
    paths = list(paths)
    photographs, left_out = filter_images(paths)
    folders: dict[str, list[str]] = {TRAIN: [], TEST: [], ALL: []}
    for path in photographs:
        folder = posixpath.basename(posixpath.dirname(path)).lower()
        if folder in folders:
            folders[folder].append(path)
    if not any(folders.values()):
        return layout.arrange(paths, origin)
    mats = [path for reason, path in left_out if reason == ".mat"]
    rows = place(_labelled(folders, _labels(mats, read, origin), origin), origin)
    placed = {row.path for row in rows}
    left_out += [LeftOut("without a label", path) for path in photographs if path not in placed]
    return Arranged(rows, left_out)


def _labelled(folders: dict[str, list[str]], labels: Labels, origin: str) -> Iterator[Labelled]:
    """All images with their labels; `car_ims` is ignored if one of the other two exists."""
    for folder in (TRAIN, TEST) if folders[TRAIN] or folders[TEST] else (ALL,):
        images = folders[folder]
        unlabelled = [path for path in images if (folder, posixpath.basename(path)) not in labels]
        if folder == TEST and images and unlabelled == images:
            log.warning(
                "%s: no .mat file labels %s, so its %d photographs are skipped; "
                "the test set is drawn from the others (see split.test).",
                origin,
                TEST,
                len(images),
            )
        elif unlabelled:
            raise InputError(f"{origin}: {unlabelled[0]} has no label; {_needed(folder)}.")
        else:
            for path in images:
                file = posixpath.basename(path)
                yield Labelled(path, *labels[folder, file], file)


def _needed(folder: str) -> str:
    if folder == ALL:
        return "choose a data set with a complete cars_annos.mat"
    mat = "devkit/cars_train_annos.mat" if folder == TRAIN else "cars_test_annos_withlabels.mat"
    return f"choose a data set with a complete {mat} (cars_annos.mat numbers the images in another order)"


def _labels(mats: list[str], read: Callable[[str], bytes], origin: str) -> Labels:
    contents = {path: _load(path, read(path), origin) for path in mats}
    named = [content["class_names"] for content in contents.values() if "class_names" in content]
    names = [str(name) for name in np.atleast_1d(named[0])] if named else []
    labels: Labels = {}
    for path, content in contents.items():
        try:
            for key, number, split in _annotations(posixpath.basename(path).lower(), content):
                if not 1 <= number <= len(names):
                    raise InputError(
                        f"{origin}: {path} has a class {number}, but only {len(names)} classes have names."
                    )
                if labels.setdefault(key, (names[number - 1], split)) != (names[number - 1], split):
                    raise InputError(
                        f"{origin}: {path} contradicts another .mat file on {'/'.join(key)}; repair it."
                    )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{origin}: {path} is not an annotation file of Stanford Cars ({error!r})."
            ) from None
    return labels


def _annotations(mat: str, content: dict) -> Iterator[tuple[tuple[str, str], int, str]]:
    """((folder, file), class number from 1, split) of every labelled image in a file called `mat`."""
    for row in np.atleast_1d(content.get("annotations", [])):
        if "class" not in row:  # cars_test_annos.mat: boxes only
            continue
        if "relative_im_path" in row:
            folder, file = row["relative_im_path"].split("/")
            yield (folder, file), int(row["class"]), "test" if row["test"] else "train"
        elif "test" in mat:  # not ==: "cars_test_annos_withlabels (1).mat" also exists
            yield (TEST, str(row["fname"])), int(row["class"]), "test"
        elif "train" in mat:
            yield (TRAIN, str(row["fname"])), int(row["class"]), "train"


def _load(path: str, data: bytes, origin: str) -> dict:
    from scipy.io import loadmat  # takes a third of a second, and only this layout needs it

    try:
        return loadmat(io.BytesIO(data), simplify_cells=True)
    except Exception as error:  # loadmat raises a dozen types of exceptions for damaged files
        raise InputError(f"{origin}: {path} is not a MATLAB file, or it is damaged ({error}).") from None
