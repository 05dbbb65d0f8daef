"""Independent streams of random numbers from one seed, each named by its purpose."""

import hashlib

import numpy as np


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends only on `seed` and `purpose` (text and numbers)."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """A NumPy generator for `purpose`."""
    return np.random.default_rng(derive(seed, *purpose))
