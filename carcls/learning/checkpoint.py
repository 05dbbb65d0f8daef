"""Where a long training was when it was killed, so that it can go on from there."""

import hashlib
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from carcls.files import replacing

FOLDER = Path(".carcls/checkpoints")  # not an output of DVC, which deletes outputs before it runs a stage
ROOMS = ("carcls.data.", "carcls.learning.")


class Checkpoint:
    """One file that holds the state of a training after its last finished epoch.

    A state is used only by a training of the same `fingerprint`.
    """

    def __init__(self, name: str, fingerprint: str, folder: Path | None = None) -> None:
        """`folder` is where the file lies: FOLDER without one."""
        self.path = (folder or FOLDER) / f"{name}.pt"
        self.fingerprint = fingerprint

    def load(self) -> dict[str, Any] | None:
        """The state last saved, on the CPU; None where there is none of the same fingerprint."""
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return content["state"] if content.get("fingerprint") == self.fingerprint else None

    def save(self, state: dict[str, Any]) -> None:
        """Keep `state`: tensors, numbers, text and containers of these."""
        content = {"fingerprint": self.fingerprint, "state": state}
        with replacing(self.path) as [temporary], temporary.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # of PyTorch's writer, whose context is why the file failed
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def fingerprint(settings: object, files: Iterable[Path] = ()) -> str:
    """A digest of `settings` (by repr), the content of `files`, PyTorch's version and the code that trains.

    That is what is loaded of carcls.data and carcls.learning: a page and a terminal share checkpoints.
    """
    digest = hashlib.sha256(repr((settings, torch.__version__)).encode())
    loaded = [module for name, module in sys.modules.items() if name.startswith(ROOMS)]
    for path in [*files, *sorted(Path(str(module.__file__)) for module in loaded)]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
