"""Image classification with ResNet: the library behind the pipeline of dvc.yaml and the command `carcls`.

    model = carcls.train("photos", epochs=5)    # trains as `carcls train`, returns the model file
    carcls.load(model).predict("photo.jpg").top # [(class, probability), ...], most probable first

`carcls.InputError` is the error that a user can act on.
"""

from importlib import import_module
from typing import Any

__all__ = ["InputError", "load", "train"]  # stable names  # noqa: F822


def __getattr__(name: str) -> Any:
    """Import the public names when they are used: `import carcls` does not import PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module 'carcls' has no attribute {name!r}")
    return getattr(import_module("carcls.results.api"), name)
