"""Trainings started on the page: settings, process and progress."""

import json
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carcls import params
from carcls.errors import InputError
from carcls.results import folder as files
from carcls.results.settings import count, with_overrides
from carcls.web.names import shown

LOG_LINES = 200  # lines of the log that the page shows


@dataclass(frozen=True)
class Form:
    """The values of the Train tab. All other settings come from the preset for photographs."""

    folder: str
    labels: str
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
    val: float
    keep: str
    flip: bool
    tta: str
    normalise: str
    class_weights: float
    image_size: int
    device: str
    results: str


def settings(form: Form) -> params.Params:
    """The preset for photographs, updated with `form`. Raises InputError if the settings are invalid."""
    classes = len(count(form.folder, form.labels).classes())
    if form.classes != classes:
        raise InputError(
            f"The folder has {classes} classes, not {form.classes}: correct the number or the folder."
        )
    options = {
        "data.labels": form.labels.strip() or None,
        "data.skip_unreadable": form.skip_unreadable,
        "split.drop_duplicates": form.drop_duplicates,
        "model.arch": form.arch,
        "pretrained": form.pretrained,
        "weights": form.weights,
        "frozen_layers": form.frozen_layers,
        "train.optimizer": form.optimizer,
        "train.lr": form.lr,
        "train.batch_size": form.batch_size,
        "train.epochs": form.epochs,
        "train.patience": form.patience,
        "split.val": form.val or None,
        "train.keep": form.keep,
        "train.flip": form.flip,
        "train.tta": form.tta,
        "train.normalise": form.normalise,
        "train.class_weights": form.class_weights,
        "data.image_size": form.image_size,
        "train.device": form.device,
    }
    return with_overrides(form.folder, options, "The form")


class Job:
    """One training. `folder` is its results folder, `progress` the last progress message of its process."""

    def __init__(self, folder: Path, used: params.Params) -> None:
        self.folder = folder
        self.used = used
        self.progress: dict[str, Any] = {"doing": "Starting"}
        self.stopping = False
        files.begin(folder, used)
        with open(folder / files.LOG, "ab") as log:  # `_listen` appends to it too
            # standard input stays open while this server lives; its end stops the worker
            self._process = subprocess.Popen(
                [sys.executable, "-m", "carcls.web.worker", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Read the progress of the worker. Other lines, which libraries print at import, go to the log."""
        assert self._process.stdout and self._process.stdin  # pipes
        for line in self._process.stdout:
            try:
                progress = json.loads(line)
            except ValueError:
                progress = None
            if isinstance(progress, dict):
                self.progress = progress
            else:
                with open(self.folder / files.LOG, "ab") as log:
                    log.write(line)
        self._process.wait()
        self._process.stdout.close()
        self._process.stdin.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the training soon and keep the epochs finished so far."""
        self.stopping = True
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Close the standard input of the worker and wait until it has saved the model."""
        assert self._process.stdin  # a pipe
        self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def log(self) -> str:
        """The last LOG_LINES lines of the log."""
        try:
            text = (self.folder / files.LOG).read_text(errors="replace")
        except FileNotFoundError:
            return f"{shown(self.folder / files.LOG)} was deleted."
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def fault(self) -> str | None:
        """After the end of the process: an error message, or None if the training succeeded."""
        code = self._process.returncode
        if code == 0:
            return None
        errors = [line for line in self.log().splitlines() if line.startswith("error: ")]
        if errors:
            return errors[-1].removeprefix("error: ")
        if self.stopping and (self.folder / files.MODEL).exists():
            return f"Stopped before the report was written: only {self.folder / files.MODEL} was saved."
        if self.stopping:
            return "Stopped before the end of the first epoch: there is no model."
        resume = f"`carcls train --resume {shlex.quote(str(self.folder.relative_to(files.RESULTS)))}`"
        if code == -signal.SIGKILL:
            return (
                "The training process was killed, most likely because memory ran out: train again with a "
                f"smaller batch size or image size, or close other programs and run {resume}."
            )
        if code < 0:
            return (
                f"The training process crashed ({signal.strsignal(-code)}): run {resume}, and if it crashes "
                "again, train on another device."
            )
        return f"The training process ended with exit status {code}: see {self.folder / files.LOG}."


class Jobs:
    """At most one training at a time. `current` is the running or the last one."""

    def __init__(self) -> None:
        self.current: Job | None = None
        self._lock = threading.Lock()

    def start(self, form: Form) -> Job:
        """Start a training. Raises InputError if one is running or `form` is invalid."""
        with self._lock:
            if self.current and self.current.running:
                raise InputError(f"A training is running in {self.current.folder}: stop it or wait for it.")
            self.current = Job(files.new(form.results), settings(form))
            return self.current

    def close(self) -> None:
        """Stop the running training, if any, and keep the epochs finished so far."""
        if self.current and self.current.running:
            self.current.stop()
            self.current.wait(10)
