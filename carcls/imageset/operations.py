"""The nine operations of the paper (section 3): uint8 RGB of shape (height, width, 3) in, a new image out."""

from collections.abc import Callable
from math import ceil, hypot
from statistics import NormalDist

import cv2
import numpy as np

ORDERS = ("RBG", "GRB", "GBR", "BRG", "BGR")  # all orders of the channels except RGB, which changes nothing
# 256 equally likely grey levels that follow the normal distribution up to 2.9 standard deviations. A random
# byte and this table generate noise many times as fast as a generator of normal numbers.
NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
NORMAL = np.rint(127.5 * (1 + NORMAL / NORMAL.max())).astype(np.uint8)
NORMAL_MEAN, NORMAL_STD = float(NORMAL.mean()), float(NORMAL.std())


def horizontal_flip(image: np.ndarray) -> np.ndarray:
    return cv2.flip(image, 1)


def brightness_contrast(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """(1 + contrast) * value + brightness * 255."""
    return cv2.addWeighted(image, 1 + contrast, image, 0, brightness * 255)


def gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    """value ** exponent, with values from 0 to 1."""
    return cv2.LUT(image, np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8))


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about the centre; the corners are filled with the image's mirror image."""
    height, width = image.shape[:2]
    diagonal = hypot(height, width)
    top, left = ceil((diagonal - height) / 2), ceil((diagonal - width) / 2)
    matrix = cv2.getRotationMatrix2D((left + (width - 1) / 2, top + (height - 1) / 2), degrees, 1)
    matrix[:, 2] -= left, top
    # OpenCV rotates four channels in 0.6 of the time of three; a margin is faster than a mirrored border
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    four = cv2.copyMakeBorder(four, top, top, left, left, cv2.BORDER_REFLECT_101)
    return cv2.cvtColor(cv2.warpAffine(four, matrix, (width, height)), cv2.COLOR_RGBA2RGB)


def rgb_shift(image: np.ndarray, red: int, green: int, blue: int) -> np.ndarray:
    """Add grey levels, of 255, to each channel."""
    shifts = (red, green, blue)
    brighter = cv2.add(image, np.array([*(max(shift, 0) for shift in shifts), 0], float))
    # with negative numbers, OpenCV does not compute in uint8 and takes three times as long
    return cv2.subtract(brighter, np.array([*(max(-shift, 0) for shift in shifts), 0], float))


def gauss_noise(image: np.ndarray, std: float, seed: int) -> np.ndarray:
    """Noise of mean 0 and standard deviation 255 * std, independent for every pixel and channel."""
    draws = np.random.SFC64(seed).random_raw(-(-image.size // 8)).view(np.uint8)[: image.size]
    noise = cv2.LUT(draws.reshape(image.shape), NORMAL)
    scale = 255 * std / NORMAL_STD
    return cv2.addWeighted(image, 1, noise, scale, -scale * NORMAL_MEAN)


def channel_shuffle(image: np.ndarray, order: str) -> np.ndarray:
    """Red, green and blue become the channels that `order` names, as in "GBR"."""
    channels = dict(zip("RGB", cv2.split(image), strict=True))
    return cv2.merge([channels[name] for name in order])


def grayscale(image: np.ndarray) -> np.ndarray:
    """0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601) in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def blur(image: np.ndarray, kernel: int) -> np.ndarray:
    """The mean of the kernel x kernel pixels around each."""
    return cv2.blur(image, (kernel, kernel))


# In the paper's order. Combined operations use it too: a shuffle after grayscale would do nothing.
OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    function.__name__: function
    for function in (
        horizontal_flip,
        brightness_contrast,
        gamma,
        rotate,
        rgb_shift,
        gauss_noise,
        channel_shuffle,
        grayscale,
        blur,
    )
}
