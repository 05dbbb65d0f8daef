"""Checkpoints, from which a killed training resumes."""

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

import carcls
from carcls.files import replacing


class Checkpoint:
    """A file with the state of a training after its last completed epoch.

    Only a training with the same `key` uses the state.
    """

    def __init__(self, name: str, key: str, folder: Path) -> None:
        self.path = folder / f"{name}.pt"
        self.key = key

    def load(self) -> dict[str, Any] | None:
        """The saved state, on the CPU; None if there is none with the same key."""
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return content["state"] if content.get("key") == self.key else None

    def save(self, state: dict[str, Any]) -> None:
        """Write `state`: tensors, numbers, text and containers of these."""
        content = {"key": self.key, "state": state}
        with replacing(self.path) as [temporary], temporary.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # PyTorch's writer hides the cause in the context
                if isinstance(error.__context__, OSError | KeyboardInterrupt):
                    raise error.__context__ from None
                raise

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def checkpoint_key(
    settings: object, files: Iterable[Path] = (), packages: Sequence[str] = ("base", "imageset", "learning")
) -> str:
    """A digest of `settings` (by repr), the content of `files`, PyTorch's version and the code of `packages`.

    These packages of carcls determine the result of a training.
    """
    digest = hashlib.sha256(repr((settings, torch.__version__)).encode())
    root = Path(carcls.__file__).parent
    code = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    for path in [*files, *code]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
