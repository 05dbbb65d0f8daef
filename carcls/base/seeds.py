"""One seed, many independent streams of random numbers: each is named by what it is for."""

import hashlib

import numpy as np


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends on `seed` and `purpose` (text and numbers) alone."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """NumPy's generator for `purpose`."""
    return np.random.default_rng(derive(seed, *purpose))
