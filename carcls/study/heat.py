"""Heat maps drawn over images: how much each part of an image contributes to a prediction."""

import cv2
import matplotlib
import numpy as np

OPACITY = 0.7  # of the colour at the maximum of the map


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """`image` (uint8, (h, w, 3)) in grey, with `heat` enlarged to its size in colour. Returns the same shape.

    Grey areas do not contribute to the prediction, bright areas contribute most.
    """
    height, width = image.shape[:2]
    spread = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = matplotlib.colormaps["inferno"](spread)[..., :3] * 255
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    share = OPACITY * spread[..., None]
    return np.rint((1 - share) * grey + share * colours).astype(np.uint8)
