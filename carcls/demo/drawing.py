"""Pictures of the demo cars that resemble photographs: a place, a camera, light, and a car painted in parts.

In a picture, x points right and y down, in pixels; colours are RGB from 0 to 255.
"""

from typing import NamedTuple

import cv2
import numpy as np

from carcls.demo.cars import HALF_WIDTH, Car, CarModel, car_of

HEIGHT, WIDTH = 160, 240  # of a picture, in pixels

SKIES = np.array([(120, 165, 215), (165, 195, 225), (205, 210, 215), (150, 155, 165), (225, 200, 175)])
PAVINGS = np.array([(105, 105, 108), (135, 130, 125), (80, 82, 88), (160, 155, 148)])
MEADOWS = np.array([(85, 120, 60), (110, 125, 70), (70, 100, 65), (135, 130, 80)])
PAINTS = np.array(
    [(232, 232, 230), (178, 182, 186), (104, 108, 114), (34, 35, 38), (168, 30, 34), (34, 62, 130)]
    + [(96, 140, 182), (40, 84, 60), (196, 176, 138), (206, 120, 40), (96, 36, 52), (214, 186, 60)]
)
PLAIN = {"black": (20, 20, 22), "cladding": (52, 52, 54), "plate": (215, 215, 208)}


class Camera(NamedTuple):
    """A level camera that looks at the car's middle, `yaw` radians from its side towards its front."""

    yaw: float
    distance: float  # metres
    height: float  # metres above the road
    focal: float  # pixels
    centre: np.ndarray  # the pixel of the horizon straight ahead

    def project(self, points: np.ndarray) -> np.ndarray:
        """The pixels, float64 of shape (n, 2), of car coordinates of shape (n, 3)."""
        x, y, z = points.T
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        scale = self.focal / (self.distance - x * sine - y * cosine)
        return self.centre + np.stack([(y * sine - x * cosine) * scale, (self.height - z) * scale], axis=1)


# ---- painting -------------------------------------------------------------------------------------


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers with four binary digits."""
    return np.round(points * 16).astype(np.int32)


def fill(image: np.ndarray, polygon: np.ndarray, colour) -> None:
    """Fill a polygon given by `fixed` with one colour."""
    cv2.fillPoly(image, [polygon], colour, cv2.LINE_AA, 4)


def stroke(image: np.ndarray, line: np.ndarray, colour, closed: bool) -> None:
    """Draw a line of one pixel's width through points given by `fixed`."""
    cv2.polylines(image, [line], closed, colour, 1, cv2.LINE_AA, 4)


def ramp(stops, size: int, width: int = 1) -> np.ndarray:
    """Rows of colour, uint8 of shape (size, width, 3), that run evenly through the colours `stops`."""
    stops = np.clip(stops, 0, 255).astype(np.uint8).reshape(-1, 1, 3)
    return cv2.resize(stops, (width, size), interpolation=cv2.INTER_LINEAR)


def shade(image: np.ndarray, polygon: np.ndarray, table: np.ndarray, waves: np.ndarray | None = None) -> None:
    """Fill with the 256 colours of `table` (see `ramp`) from the polygon's top to its bottom.

    `waves`, a small float32 array, bends the bands of colour, as a reflection does.
    """
    left, top, w, h = cv2.boundingRect(polygon)
    x0, y0 = max(left >> 4, 0), max(top >> 4, 0)
    x1, y1 = min((left + w >> 4) + 1, WIDTH), min((top + h >> 4) + 1, HEIGHT)
    if x0 >= x1 or y0 >= y1:
        return
    region = image[y0:y1, x0:x1]
    level = np.linspace(0, 255, y1 - y0, dtype=np.float32)[:, None]
    if waves is not None:
        level = level + 255 * cv2.resize(waves, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
    level = np.clip(np.broadcast_to(level, region.shape[:2]), 0, 255).astype(np.uint8)
    mask = np.zeros(region.shape[:2], np.uint8)
    fill(mask, polygon - np.array([x0, y0], np.int32) * 16, 255)
    weight = mask * np.float32(1 / 255)
    region[:] = cv2.blendLinear(cv2.LUT(cv2.merge([level] * 3), table), region, weight, 1 - weight)


def blotches(rng: np.random.Generator, image: np.ndarray, cells: tuple[int, int], strength: float) -> None:
    """Add smooth grey noise with about `cells` bumps."""
    coarse = rng.uniform(-strength, strength, cells).astype(np.float32)
    noise = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    image[:] = cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


# ---- the place ------------------------------------------------------------------------------------


def backdrop(rng: np.random.Generator, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """An empty place, uint8 of shape (HEIGHT, WIDTH, 3), and the colour of its sky or ceiling."""
    row = int(np.clip(horizon, 20, HEIGHT - 60))
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    place = rng.choice(["road", "meadow", "street", "showroom"], p=[0.3, 0.25, 0.25, 0.2])
    sky = rng.choice(SKIES) * rng.uniform(0.8, 1.05)
    if place == "showroom":
        sky = np.full(3, sky.mean())
    image[:row] = ramp([sky * 0.85, sky * 1.1 + 15], row, WIDTH)
    ground = rng.choice(MEADOWS if place == "meadow" else PAVINGS) * rng.uniform(0.6, 1.2)
    image[row:] = ramp([ground * 1.1 + 8, ground * 0.85], HEIGHT - row, WIDTH)
    if place in ("road", "meadow"):
        hills(rng, image, row)
    else:
        wall(rng, image, row)
    blotches(rng, image[:row], (5, 4), 9)
    blotches(rng, image[row:], (24, 16), 16 if place == "meadow" else 8)
    if place == "road":
        marking(rng, image, row)
    return image, sky


def hills(rng: np.random.Generator, image: np.ndarray, row: int) -> None:
    """Two lines of hills or trees on the horizon."""
    for distance in (1.0, 0.6):
        green = rng.choice(MEADOWS) * rng.uniform(0.35, 0.7) + 45 * distance
        bumps = rng.uniform(-1, 1, (1, rng.integers(4, 30))).astype(np.float32)
        curve = cv2.resize(bumps, (WIDTH // 2 + 1, 1), interpolation=cv2.INTER_CUBIC)[0]
        edge = row - rng.uniform(5, 26) * distance * (1 + 0.6 * curve)
        outline = np.column_stack([np.arange(0, WIDTH + 1, 2), edge])
        fill(image, fixed(np.concatenate([outline, [[WIDTH, row + 1], [0, row + 1]]])), green)


def wall(rng: np.random.Generator, image: np.ndarray, row: int) -> None:
    """A wall behind the car with windows or panels, and a kerb at its foot."""
    colour = rng.choice(PAINTS) * 0.6 + 60
    top = int(rng.uniform(-40, row * 0.6))
    cv2.rectangle(image, (0, max(top, 0)), (WIDTH, row), colour, -1)
    pane = np.minimum(colour * rng.uniform(0.4, 1.25), 250)
    step = rng.uniform(22, 70)
    width = step * rng.uniform(0.4, 0.95)
    low = row - rng.uniform(0, 0.3) * (row - top)
    high = low - rng.uniform(0.3, 0.8) * (row - top)
    for left in np.arange(rng.uniform(-step, 0), WIDTH, step):
        cv2.rectangle(image, (int(left), int(high)), (int(left + width), int(low)), pane, -1)
    kerb = rng.uniform(60, 200)
    cv2.rectangle(image, (0, row - 2), (WIDTH, row + int(rng.integers(0, 5))), (kerb, kerb, kerb), -1)


def marking(rng: np.random.Generator, image: np.ndarray, row: int) -> None:
    """A painted line along the road or across the lot."""
    y, tilt, width = rng.uniform(row + 3, HEIGHT), rng.uniform(-25, 25), rng.uniform(1, 5)
    line = [(0, y - tilt), (WIDTH, y + tilt), (WIDTH, y + tilt + width), (0, y - tilt + width)]
    white = rng.uniform(150, 235)
    fill(image, fixed(np.maximum(line, [0, row + 1])), (white, white, white))


# ---- the car --------------------------------------------------------------------------------------


class Paints:
    """The colours of one car in the light of one place."""

    def __init__(self, rng: np.random.Generator, sky: np.ndarray):
        self.sky = sky
        self.body = np.clip(rng.choice(PAINTS) + rng.uniform(-18, 18, 3), 8, 240)
        self.rim = np.full(3, rng.choice([95.0, 150.0, 190.0]) * rng.uniform(0.9, 1.1))
        self.trim = np.full(3, rng.choice([35.0, 185.0]))
        self.waves = rng.uniform(-0.08, 0.08, (3, 7)).astype(np.float32)
        mirrored = sky * rng.uniform(0.3, 0.8)
        panel = [self.tint(light) for light in (1.15, 1.0, 0.72, 0.9, 0.8, 0.45)]
        panel[0] = panel[0] * 0.8 + sky * 0.2
        self.tables = {
            "panel": ramp(panel, 256),
            "frame": ramp([self.tint(1.1), self.tint(0.85)], 256),
            "glass": ramp([mirrored, mirrored * 0.5 + 12, np.full(3, rng.uniform(20, 60))], 256),
            "lamp": ramp([(250, 250, 248), (150, 158, 168), (225, 228, 232)], 256),
        }

    def tint(self, light: float) -> np.ndarray:
        """The colour of the body under more or less light. OpenCV clips it."""
        return self.body * light + 18 * (light - 0.6)

    def apply(self, image: np.ndarray, polygon: np.ndarray, finish: str, value: float) -> None:
        """Paint one part, a polygon given by `fixed`."""
        match finish:
            case "shell":  # the more a sheet faces up, the more sky it mirrors
                gloss = 0.25 * max(value, 0)
                colour = self.tint(0.75 + 0.3 * value) * (1 - gloss) + self.sky * gloss
                fill(image, cv2.convexHull(polygon), colour)
            case "paint":
                fill(image, polygon, self.tint(value))
            case "line":
                stroke(image, polygon, self.tint(value), closed=False)
            case "panel" | "frame":
                shade(image, polygon, self.tables[finish], self.waves)
            case "glass" | "window":
                shade(image, polygon, self.tables["glass"], self.waves)
                stroke(image, polygon, self.trim if finish == "window" else (25, 25, 28), closed=True)
            case "lamp":
                shade(image, polygon, self.tables[finish])
                stroke(image, polygon, (40, 30, 32), closed=True)
            case "grille":
                fill(image, polygon, (24, 24, 26))
                stroke(image, polygon, self.trim, closed=True)
            case "tyre":
                fill(image, cv2.convexHull(polygon), (22, 22, 24))
            case "rim" | "trim":
                fill(image, polygon, (self.rim if finish == "rim" else self.trim) * value)
            case _:
                fill(image, polygon, PLAIN[finish])


def shadow(rng: np.random.Generator, image: np.ndarray, camera: Camera, length: float) -> np.ndarray:
    """The picture with the shadow of the car and the darkness under it."""
    corners = np.array([(1, 1, 0), (1, -1, 0), (-1, -1, 0), (-1, 1, 0)]) * [length / 2, HALF_WIDTH, 0] * 0.96
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    thrown = camera.project(corners + [*rng.uniform(-0.5, 0.5, 2), 0])
    fill(mask, fixed(thrown), rng.uniform(130, 200))
    fill(mask, fixed(camera.project(corners)), 60)
    size = int(rng.integers(3, 9))
    soft = cv2.blur(cv2.blur(mask, (size, size)), (size, size))
    return cv2.multiply(image, cv2.merge([soft] * 3), scale=1 / 255)


def paint_car(rng: np.random.Generator, image: np.ndarray, car: Car, camera: Camera, sky: np.ndarray) -> None:
    """Paint the parts of the car onto the picture, with randomly turned wheels."""
    paints = Paints(rng, sky)
    turn = rng.uniform(0, 2 * np.pi)
    x, _, z = (car.points - car.hubs).T
    sine, cosine = np.sin(turn), np.cos(turn)
    rolled = np.stack([x * cosine - z * sine, 0 * x, x * sine + z * cosine], axis=1)
    points = np.where(np.isnan(car.hubs), car.points, car.hubs + rolled)
    pixels = fixed(camera.project(points))
    for rows, finish, value, one_sided in car.parts:
        if not one_sided or cv2.contourArea(pixels[rows], oriented=True) > 0:
            paints.apply(image, pixels[rows], finish, value)


# ---- the picture ----------------------------------------------------------------------------------


def aim(rng: np.random.Generator, car: Car) -> Camera:
    """A camera that shows the whole car, from the side or from three quarters in front."""
    camera = Camera(rng.uniform(0.3, 0.75), rng.uniform(7, 10), rng.uniform(1.2, 1.7), 1.0, np.zeros(2))
    pixels = camera.project(car.points)
    low, size = pixels.min(axis=0), np.ptp(pixels, axis=0)
    frame = np.array([WIDTH, HEIGHT])
    focal = rng.uniform(0.86, 0.97) * min(frame / size * [1, 0.9])
    corner = (frame - focal * size) * rng.uniform([0.3, 0.5], [0.7, 0.8])
    return camera._replace(focal=focal, centre=corner - focal * low)


def develop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Exposure, contrast, colour cast, lens blur and sensor noise."""
    curve = np.linspace(0, 1, 256)[:, None, None] ** rng.uniform(0.8, 1.25)
    table = 255 * (curve * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3) + rng.uniform(0, 0.06))
    image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8))
    image = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.3, 0.9))
    noise = rng.integers(0, 256, image.shape, dtype=np.uint8)
    strength = rng.uniform(2, 10)
    return cv2.addWeighted(image, 1, noise, strength / 128, -strength)


def draw(model: CarModel, rng: np.random.Generator) -> np.ndarray:
    """One picture of the car, uint8 RGB of shape (HEIGHT, WIDTH, 3).

    `rng` determines place, colour, viewpoint and light; the shape depends only on the model.
    """
    car = car_of(model)
    camera = aim(rng, car)
    image, sky = backdrop(rng, camera.centre[1])
    image = shadow(rng, image, camera, car.body.length)
    paint_car(rng, image, car, camera, sky)
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    return develop(rng, image)
