"""F1, for what is trained and for what is reported; with nothing but NumPy, it costs no start-up.

It is as scikit-learn has it, whose own takes two seconds to import.
"""

import numpy as np


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`; 0 where there is nothing to be part of."""
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


def f1(support: np.ndarray, called: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """F1 of each class, from the counts that `macro_f1` takes."""
    return share(2 * hits, support + called)


def macro_f1(support: np.ndarray, called: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Macro F1 from counts of shape (..., classes): images of each class, answers of it, right answers.

    As scikit-learn has it, the mean is over the classes that are present or answered.
    """
    return f1(support, called, hits).sum(-1) / (support + called > 0).sum(-1)
