"""Heat maps as a table and as pictures: how much each place of an image speaks for a model's answer."""

import cv2
import matplotlib
import numpy as np

OPACITY = 0.7  # of the colours, where it is hottest


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """`image` (uint8, (h, w, 3)) in grey, `heat` stretched over it in colour: uint8, the same shape.

    Grey places say nothing for the answer, bright ones most.
    """
    height, width = image.shape[:2]
    spread = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = matplotlib.colormaps["inferno"](spread)[..., :3] * 255
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    share = OPACITY * spread[..., None]
    return np.rint((1 - share) * grey + share * colours).astype(np.uint8)
