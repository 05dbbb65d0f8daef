"""Trainings started on the page: what is asked for, the one process that does it, and how far it is."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from carcls import params
from carcls.data.sources.folder import find_photographs
from carcls.data.sources.sift import summary
from carcls.errors import InputError
from carcls.files import write_text

RESULTS = Path("results")
TEST = 0.2  # share of a folder without a test set, where params.yaml has none for it
LOG_LINES = 200  # of the log, shown on the page


@dataclass(frozen=True)
class Form:
    """What the Train tab asks for; all else is as params.yaml has it."""

    folder: str
    skip_unreadable: bool
    drop_duplicates: bool
    classes: int | None
    arch: str
    pretrained: bool
    weights: str
    frozen_layers: int
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    patience: int
    image_size: int
    device: str
    results: str


def count(folder: str) -> tuple[list[str], int, str]:
    """The classes of `folder`, how many images it has and what is left out, told from names alone.

    Raises InputError for what training would stop at: what `find_photographs` refuses, and a class with too
    few images to have one in every split.
    """
    if not folder.strip():
        raise InputError("Name the folder that holds a folder of images for each class.")
    try:
        rows, left_out = find_photographs(Path(folder.strip()))
    except InputError as error:
        raise InputError(str(error).removeprefix("data.folder: ")) from None
    given = {row.split for row in rows}
    needed = 1 + ("val" not in given) + ("test" not in given)
    divided = Counter(row.class_name for row in rows if row.split in ("train", ""))
    for name, images in sorted(divided.items()):
        if images < needed:
            raise InputError(
                f"The class {name!r} has {images} image{'s' * (images > 1)} to train on, and {needed} are "
                "needed to have one in each of train, val and test: add some or remove the class."
            )
    return sorted(divided), len(rows), summary(left_out)


def settings(form: Form) -> params.Params:
    """`form` laid over params.yaml. Raises InputError when training cannot start so."""
    classes, _, _ = count(form.folder)
    if form.classes != len(classes):
        raise InputError(
            f"The folder has {len(classes)} classes, not {form.classes}: correct the number or the folder."
        )
    content = params.load().model_dump()
    config = f"freeze{form.frozen_layers}" if form.frozen_layers else "pretrained"
    if not form.pretrained:
        config = f"scratch_{config}" if form.frozen_layers else "scratch"
    content["data"] |= {
        "source": "folder",
        "folder": form.folder.strip(),
        "skip_unreadable": form.skip_unreadable,
        "image_size": form.image_size,
    }
    content["split"]["drop_duplicates"] = form.drop_duplicates
    content["split"]["test"] = content["split"]["test"] or TEST  # the page has no way to ask for another
    content["weights"] = form.weights
    content["configs"][config] = {"pretrained": form.pretrained, "frozen_layers": form.frozen_layers}
    content["model"] = {"arch": form.arch, "config": config}
    content["train"] |= {
        "epochs": form.epochs,
        "patience": form.patience,
        "optimizer": form.optimizer,
        "batch_size": form.batch_size,
        "lr": form.lr,
        "device": form.device,
    }
    return params.check(content, "The form")


def results_folder(name: str) -> Path:
    """`name` as a new folder below RESULTS. Raises InputError when it is elsewhere or taken."""
    folder = RESULTS / name.strip()
    inside = folder.resolve()
    if RESULTS.resolve() not in inside.parents:
        raise InputError(f"Results are written below {RESULTS.resolve()} only: {name!r} is not there.")
    if any(part.startswith(".") for part in inside.relative_to(RESULTS.resolve()).parts):
        raise InputError(f"The results folder {name!r} would be hidden: choose a name without a leading dot.")
    if folder.exists():
        raise InputError(f"{folder} exists: choose another results folder.")
    return folder


def free_name(arch: str) -> str:
    """The first of ARCH-1, ARCH-2, ... that is no results folder."""
    number = 1
    while (RESULTS / f"{arch}-{number}").exists():
        number += 1
    return f"{arch}-{number}"


class Run:
    """One training: `folder` is its results folder, `progress` what its process said last."""

    def __init__(self, folder: Path, used: params.Params) -> None:
        self.folder = folder
        self.used = used
        self.progress: dict[str, Any] = {"doing": "Starting"}
        self.stopping = False
        folder.mkdir(parents=True)
        write_text(folder / "params.yaml", yaml.safe_dump(used.model_dump(), sort_keys=False))
        with open(folder / "train.log", "wb") as log:
            # standard input stays open as long as this server lives: its end is what ends the worker
            self._process = subprocess.Popen(
                [sys.executable, "-m", "carcls.web.worker", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout  # a pipe
        for line in self._process.stdout:
            self.progress = json.loads(line)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End soon, with the best epoch kept."""
        self.stopping = True
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Close the worker's standard input and wait for it to save and end."""
        assert self._process.stdin  # a pipe
        self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def log(self) -> str:
        """The last LOG_LINES of its log."""
        text = (self.folder / "train.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def history(self) -> pd.DataFrame | None:
        """A row for each epoch that has ended, as in `training.Epoch`; None before the first."""
        try:
            return pd.read_csv(self.folder / "history.csv")
        except FileNotFoundError:
            return None

    def fault(self) -> str | None:
        """Once it has ended: the sentence that says why there is no model, or None when there is one."""
        code = self._process.returncode
        if code == 0:
            return None
        last = ([""] + self.log().splitlines())[-1]
        if last.startswith("error: "):
            return last.removeprefix("error: ")
        if self.stopping:
            return "Stopped before the first epoch had ended: there is no model to keep."
        if code < 0:
            return f"The training process was killed (signal {-code}), perhaps for want of memory."
        return f"Training broke down ({last}): {self.folder / 'train.log'} has the details."


class Runs:
    """At most one training at a time; `current` is the one that runs or ran last."""

    def __init__(self) -> None:
        self.current: Run | None = None
        self._lock = threading.Lock()

    def start(self, form: Form) -> Run:
        """Raises InputError when one is running or `form` cannot be trained."""
        with self._lock:
            if self.current and self.current.running:
                raise InputError(f"A training is running in {self.current.folder}: stop it or wait for it.")
            self.current = Run(results_folder(form.results), settings(form))
            return self.current

    def close(self) -> None:
        """End the training that is running, if any, with its best epoch kept."""
        if self.current and self.current.running:
            self.current.stop()
            self.current.wait(10)
