"""Pictures of cars, drawn: a small 3D model of a car seen through a pinhole camera.

Lengths are metres. On the car x points forward from its middle, y to the side that faces the camera
and z up from the road; on the picture x points right and y down, in pixels. A point of the car's skin
is written (x, z, u): the side view's (x, z) and the place u across the car, from 1 (the near side) to
-1 (the far side).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 180, 240  # of a picture, in pixels

Outline = tuple[tuple[float, float], ...]

SKIES = np.array([(120, 165, 215), (165, 195, 225), (205, 210, 215), (150, 155, 165), (225, 200, 175)])
PAVINGS = np.array([(105, 105, 108), (135, 130, 125), (80, 82, 88), (160, 155, 148)])
MEADOWS = np.array([(85, 120, 60), (110, 125, 70), (70, 100, 65), (135, 130, 80)])
PAINTS = np.array(
    [
        (232, 232, 230),
        (178, 182, 186),
        (104, 108, 114),
        (34, 35, 38),
        (168, 30, 34),
        (34, 62, 130),
        (96, 140, 182),
        (40, 84, 60),
        (196, 176, 138),
        (206, 120, 40),
        (96, 36, 52),
        (214, 186, 60),
    ]
)


@dataclass(frozen=True)
class Body:
    """A body type: the side view, in metres, (x, z) from the front to the rear."""

    name: str
    length: float
    clearance: float
    nose: float  # height of the bonnet's front edge
    cowl: tuple[float, float]  # foot of the windscreen
    roof: Outline  # from the top of the windscreen to the top of the rear window
    deck: tuple[float, float]  # foot of the rear window
    tail: float  # height of the boot's rear edge
    axles: tuple[float, float]
    wheel: float  # radius
    doors: tuple[float, ...]  # x of the gaps between the doors; the inner ones carry a pillar
    cladding: float = 0.0  # height of the unpainted strip along the sill


@dataclass(frozen=True)
class Make:
    """A make's family look, laid over every body type.

    Lamps and grille are outlines (t, v): t runs from 0 in the middle of the front to 1 at its corner
    and on along the car's side, v from 0 at the lower edge of the bumper to 1 at the bonnet or boot.
    """

    name: str
    lamps: tuple[Outline, ...]
    grille: Outline  # the half with t >= 0, from top to bottom
    bars: tuple[int, int]  # the grille's horizontal and vertical bars
    tail_lamps: tuple[Outline, ...]
    nose: float  # added to the height of the bonnet's front edge
    rake: float  # how far that edge stands back from the bumper
    cab: float  # how far the cabin is moved forward
    roof: float  # factor on the height of the roof above the cowl
    belt: float  # rise of the lower window line from front to rear
    quarter: tuple[float, float, float]  # rear window post: width on top, at the foot; kick of the line
    wheel: float  # factor on the wheel's radius
    spokes: int
    spoke_width: float  # of the angle between two spokes
    creases: tuple[tuple[float, float], ...]  # height at front and rear: 0 at the sill, 1 at the belt


@dataclass(frozen=True)
class CarModel:
    """A class of the data set: a body type with the look of a make."""

    name: str
    make: Make
    body: Body


class Camera(NamedTuple):
    """A level camera that looks at the car's middle, `yaw` radians from its side towards its front."""

    yaw: float
    distance: float
    height: float
    focal: float
    centre: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """The pixels, float64 of shape (n, 2), of car coordinates of shape (n, 3)."""
        x, y, z = points.T
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        scale = self.focal / (self.distance - x * sine - y * cosine)
        right = y * sine - x * cosine
        return np.stack([self.centre[0] + right * scale, self.centre[1] + (self.height - z) * scale], axis=1)


class Skin:
    """The surface of one car: where its points lie in space. Depends on the model alone."""

    HALF_WIDTH = 0.9

    def __init__(self, model: CarModel):
        body, make = model.body, model.make
        front, rear = body.length / 2, -body.length / 2
        shift = make.cab
        self.nose_height = body.nose + make.nose
        self.cowl = (body.cowl[0] + shift, body.cowl[1])
        self.deck = (body.deck[0] + shift / 2, body.deck[1] + make.belt / 2)
        lift = [(x + shift, self.cowl[1] + (z - self.cowl[1]) * make.roof) for x, z in body.roof]
        self.roof = lift
        self.roof_height = max(z for _, z in lift)
        low = body.clearance
        middle = (low + self.nose_height) / 2
        bonnet = ((front - make.rake + self.cowl[0]) / 2, (self.nose_height + self.cowl[1]) / 2 + 0.05)
        self.front = rounded(
            [
                (front - 0.15, low),
                (front, low + 0.1),
                (front, middle),
                (front - make.rake, self.nose_height),
                bonnet,
                self.cowl,
            ]
        )
        tail = max(body.tail + make.belt / 2, 0)
        self.rear = rounded(
            [self.deck, (rear + 0.1, tail), (rear, (low + tail) / 2), (rear, low + 0.12), (rear + 0.2, low)]
        )
        self.tail_height = tail
        self.cabin = rounded([self.cowl, *lift, self.deck])
        self.low = low
        self.length = body.length

    def at(self, points: np.ndarray) -> np.ndarray:
        """Car coordinates, shape (n, 3), of points (x, z, u) on the skin."""
        x, z, u = np.asarray(points, dtype=float).T
        ends = np.abs(2 * x / self.length) ** 6  # front and rear are curved in plan
        above = np.clip((z - self.cowl[1]) / (self.roof_height - self.cowl[1]), 0, 1)
        y = u * self.HALF_WIDTH * (1 - 0.2 * above)
        return np.stack([x - np.sign(x) * ends * 0.28 * np.abs(u) ** 3, y, z - 0.04 * np.abs(u) ** 4], axis=1)

    def belt(self, x):
        """Height of the belt, the line between door panels and windows."""
        (x0, z0), (x1, z1) = self.cowl, self.deck
        return z0 + (np.clip(x, x1, x0) - x0) * (z1 - z0) / (x1 - x0)

    def side(self, points, u: float = 1.0) -> np.ndarray:
        """Car coordinates of side view points (x, z)."""
        points = np.asarray(points, dtype=float)
        return self.at(np.column_stack([points, np.full(len(points), u)]))

    def end(self, points, facing: int) -> np.ndarray:
        """Car coordinates of points (t, v) of the front (`facing` 1) or the rear (-1)."""
        t, v = np.asarray(points, dtype=float).T
        edge, top = (self.front, self.nose_height) if facing > 0 else (self.rear[::-1], self.tail_height)
        z = self.low + v * (top - self.low)
        x = np.interp(z, edge[:, 1], edge[:, 0])
        back = np.maximum(np.abs(t) - 1, 0) * self.HALF_WIDTH
        return self.at(np.column_stack([x - facing * back, z, np.clip(t, -1, 1)]))


def rounded(corners) -> np.ndarray:
    """A smooth curve, shape (n, 2), near the line through `corners` (Chaikin's corner cutting)."""
    line = np.asarray(corners, dtype=float)
    for _ in range(2):
        cut = np.stack([0.8 * line[:-1] + 0.2 * line[1:], 0.2 * line[:-1] + 0.8 * line[1:]], axis=1)
        line = np.concatenate([line[:1], cut.reshape(-1, 2)[1:-1], line[-1:]])
    return line


skin_of = lru_cache(maxsize=None)(Skin)


# ---- painting -------------------------------------------------------------------------------------


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers with four binary digits."""
    return np.round(points * 16).astype(np.int32)


def fill(image: np.ndarray, polygons: list[np.ndarray], colour) -> None:
    cv2.fillPoly(image, [fixed(p) for p in polygons], colour, cv2.LINE_AA, 4)


def stroke(image: np.ndarray, line: np.ndarray, colour, closed: bool = False) -> None:
    cv2.polylines(image, [fixed(line)], closed, colour, 1, cv2.LINE_AA, 4)


def ramp(stops, size: int) -> np.ndarray:
    """`size` colours, float32 of shape (size, 3), that run evenly through the colours `stops`."""
    stops = np.asarray(stops, dtype=np.float32).reshape(-1, 1, 3)
    places = np.linspace(0, len(stops) - 1, size, dtype=np.float32)
    return cv2.remap(stops, np.zeros((size, 1), np.float32), places[:, None], cv2.INTER_LINEAR)[:, 0]


def shade(image: np.ndarray, polygon: np.ndarray, stops, slope: float = 0.0, waves=None) -> None:
    """Fill with colours that run through `stops` from the polygon's top to its bottom.

    `slope` tilts the bands, `waves` (a small float32 array) bends them, as a reflection does.
    """
    corner = np.maximum(np.floor(polygon.min(axis=0)), 0).astype(int)
    w, h = np.minimum(np.ceil(polygon.max(axis=0)) + 1, (WIDTH, HEIGHT)).astype(int) - corner
    if w <= 0 or h <= 0:
        return
    mask = np.zeros((h, w), np.uint8)
    fill(mask, [polygon - corner], 255)
    level = np.linspace(0, 1, h, dtype=np.float32)[:, None] + np.linspace(-slope, slope, w, dtype=np.float32)
    if waves is not None:
        level += cv2.resize(waves, (w, h), interpolation=cv2.INTER_CUBIC)
    colours = ramp(stops, 64)[(np.clip(level, 0, 1) * 63).astype(np.intp)]
    region = image[corner[1] : corner[1] + h, corner[0] : corner[0] + w]
    region[:] = region + mask[..., None] * np.float32(1 / 255) * (colours - region)


def clouds(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise in [-1, 1], float32 of shape `shape`, with about `cells` bumps."""
    coarse = rng.uniform(-1, 1, cells).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


# ---- the place ------------------------------------------------------------------------------------


def grey(value: float) -> np.ndarray:
    return np.full(3, float(value))


def backdrop(rng: np.random.Generator, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """An empty place, uint8 of shape (HEIGHT, WIDTH, 3), and the colour of its sky or ceiling."""
    row = int(np.clip(horizon, 20, HEIGHT - 60))
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    place = rng.choice(["road", "meadow", "street", "showroom"], p=[0.3, 0.25, 0.25, 0.2])
    sky = rng.choice(SKIES) * rng.uniform(0.8, 1.05)
    if place == "showroom":
        sky = grey(rng.uniform(150, 240))
    image[:row] = ramp([sky * 0.85, np.minimum(sky * 1.1 + 15, 250)], row)[:, None]
    ground = rng.choice(MEADOWS if place == "meadow" else PAVINGS) * rng.uniform(0.6, 1.2)
    image[row:] = np.minimum(ramp([ground * 1.1 + 8, ground * 0.85], HEIGHT - row), 250)[:, None]
    if place in ("road", "meadow"):
        hills(image, rng, row)
    else:
        wall(image, rng, row)
    texture(image, rng, row, 22 if place == "meadow" else 8)
    if place == "road":
        marking(image, rng, row)
    return image, sky


def hills(image: np.ndarray, rng: np.random.Generator, row: int) -> None:
    """Two lines of hills or trees on the horizon."""
    x = np.arange(WIDTH)
    for distance in (1.0, 0.6):
        green = rng.choice(MEADOWS) * rng.uniform(0.35, 0.7) + 45 * distance
        height = rng.uniform(5, 26) * distance
        cells = int(rng.integers(4, 30))
        edge = row - height * (1 + 0.6 * clouds(rng, (1, WIDTH), (1, cells))[0])
        outline = np.concatenate([np.column_stack([x, edge]), [[WIDTH, row + 1], [0, row + 1]]])
        fill(image, [outline], green)


def wall(image: np.ndarray, rng: np.random.Generator, row: int) -> None:
    """A wall behind the car, with windows or panels, and the lighter kerb at its foot."""
    colour = rng.choice(PAINTS) * 0.6 + 60
    top = int(rng.uniform(-40, row * 0.6))
    cv2.rectangle(image, (0, max(top, 0)), (WIDTH, row), colour, -1)
    step, height = rng.uniform(22, 70), rng.uniform(0.3, 0.8) * (row - top)
    panes = colour * rng.uniform(0.4, 1.25)
    lower = row - rng.uniform(0, 0.3) * (row - top)
    width = step * rng.uniform(0.4, 0.95)
    for left in np.arange(rng.uniform(-step, 0), WIDTH, step):
        corners = (int(left), int(lower - height)), (int(left + width), int(lower))
        cv2.rectangle(image, *corners, np.minimum(panes, 250), -1)
    cv2.rectangle(image, (0, row - 2), (WIDTH, row + int(rng.integers(0, 5))), grey(rng.uniform(60, 200)), -1)


def texture(image: np.ndarray, rng: np.random.Generator, row: int, strength: float) -> None:
    """Blotches on the ground and in the sky."""
    blotches = clouds(rng, (HEIGHT - row, WIDTH), (30, 20)) * strength
    ground = image[row:]
    ground[:] = np.clip(ground + blotches[..., None], 0, 255)
    sky = image[:row]
    sky[:] = np.clip(sky + clouds(rng, (row, WIDTH), (5, 4))[..., None] * 9, 0, 255)


def marking(image: np.ndarray, rng: np.random.Generator, row: int) -> None:
    """A painted line along the road or across the lot."""
    y = rng.uniform(row + 3, HEIGHT)
    tilt, thickness = rng.uniform(-25, 25), rng.uniform(1, 5)
    line = np.array([[0, y - tilt], [WIDTH, y + tilt], [WIDTH, y + tilt + thickness], [0, y - tilt + thickness]])
    fill(image, [np.maximum(line, [0, row + 1])], grey(rng.uniform(150, 235)))


# ---- the car --------------------------------------------------------------------------------------


class Scene(NamedTuple):
    """What the parts of one picture share."""

    image: np.ndarray
    skin: Skin
    camera: Camera
    paint: np.ndarray  # the body's colour
    sky: np.ndarray
    glass: np.ndarray  # colours of the windows, from top to bottom
    waves: np.ndarray  # see `shade`

    def place(self, points: np.ndarray) -> np.ndarray:
        return self.camera.project(points)

    def tint(self, light: float) -> np.ndarray:
        """The paint under more or less light."""
        return np.clip(self.paint * light + 18 * (light - 0.6), 0, 250)


def shadow(scene: Scene, rng: np.random.Generator) -> None:
    half, wide = scene.skin.length / 2, Skin.HALF_WIDTH
    lean = rng.uniform(-0.5, 0.5, 2)
    footprint = [[half, wide], [half, -wide], [-half, -wide], [-half, wide]]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for offset, depth in ((lean, rng.uniform(60, 130)), (0, 150)):
        points = np.column_stack([np.array(footprint) * 0.97 + offset, np.zeros(4)])
        fill(mask, [scene.place(points)], depth)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(1.5, 4))
    scene.image[:] = scene.image * (1 - mask[..., None] * np.float32(1 / 255))


def wheels(scene: Scene, model: CarModel, y: float, rim: np.ndarray, turn: float) -> None:
    """Both wheels whose outer faces lie at `y`."""
    body, make = model.body, model.make
    radius = body.wheel * make.wheel
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.zeros(28), np.sin(angle)])
    inwards = np.array([0, -0.2 * np.sign(y), 0])
    spoke_angle = turn + np.arange(make.spokes) * 2 * np.pi / make.spokes
    spread = make.spoke_width * np.pi / make.spokes
    for x in body.axles:
        hub = np.array([x, y, radius])
        tyre = np.concatenate([hub + radius * circle, hub + radius * circle + inwards])
        hull = cv2.convexHull(scene.place(tyre).astype(np.float32))[:, 0]
        fill(scene.image, [hull], (22, 22, 24))
        if y < 0:
            continue
        fill(scene.image, [scene.place(hub + 0.74 * radius * circle)], rim * 0.25)
        spokes = [
            np.column_stack([np.cos(a) * r, np.zeros(4), np.sin(a) * r])
            for a, r in (
                (s + spread * np.array([-0.8, 0.8, 1, -1]), radius * np.array([0.15, 0.15, 0.72, 0.72]))
                for s in spoke_angle
            )
        ]
        fill(scene.image, [scene.place(hub + s) for s in spokes], rim)
        fill(scene.image, [scene.place(hub + 0.2 * radius * circle)], rim * 0.9)
        stroke(scene.image, scene.place(hub + 0.74 * radius * circle), rim, closed=True)


def strips(scene: Scene, outline: np.ndarray) -> None:
    """The surface across the car along a curve of the side view, as far as it faces the camera."""
    u = np.linspace(1, -1, 9)
    edges = [
        scene.place(scene.skin.at(np.column_stack([np.tile(point, (9, 1)), u]))) for point in outline
    ]
    for (x0, z0), (x1, z1), a, b in zip(outline, outline[1:], edges, edges[1:], strict=False):
        strip = np.concatenate([a, b[::-1]])
        if cv2.contourArea(strip.astype(np.float32), oriented=True) <= 0:
            continue
        upwards = abs(x1 - x0) / np.hypot(x1 - x0, z1 - z0)
        colour = scene.tint(0.75 + 0.3 * upwards) * (1 - 0.25 * upwards) + scene.sky * 0.25 * upwards
        fill(scene.image, [strip], colour)
        stroke(scene.image, strip, colour, closed=True)


def glazing(scene: Scene, foot, top, half: float) -> None:
    """The windscreen or rear window between two points of the side view."""
    (x0, z0), (x1, z1) = np.array(foot), np.array(top)
    foot = [x0 + 0.1 * (x1 - x0), z0 + 0.1 * (z1 - z0)]
    top = [x0 + 0.92 * (x1 - x0), z0 + 0.92 * (z1 - z0)]
    places = np.linspace(1, -1, 7)
    edges = [scene.skin.at(np.column_stack([np.tile(p, (7, 1)), places * half])) for p in (foot, top)]
    pane = scene.place(np.concatenate([edges[0], edges[1][::-1]]))
    if (cv2.contourArea(pane.astype(np.float32), oriented=True) > 0) == (x0 > x1):
        shade(scene.image, pane, scene.glass, 0.2, scene.waves)
        stroke(scene.image, pane, (25, 25, 28), closed=True)


def flank(scene: Scene, model: CarModel) -> None:
    """The near side: door panels, wheel arches, creases and gaps."""
    body, make, skin = model.body, model.make, scene.skin
    outline = np.concatenate([skin.front, skin.rear])
    panel = scene.place(skin.side(outline))
    stops = [scene.tint(t) for t in (1.15, 1.0, 0.72, 0.9, 0.8, 0.45)]
    stops[0] = stops[0] * 0.8 + scene.sky * 0.2
    shade(scene.image, panel, stops, 0.05, scene.waves)
    sill, nose, tail = body.clearance + 0.1, body.length / 2, -body.length / 2
    if body.cladding:
        low, high = body.clearance, body.clearance + body.cladding
        strip = [(nose - 0.2, low), (nose - 0.1, high), (tail + 0.1, high), (tail + 0.2, low)]
        fill(scene.image, [scene.place(skin.side(strip))], (52, 52, 54))
    for at_front, at_rear in make.creases:
        x = np.linspace(body.axles[0] + 0.35, tail + 0.3, 8)
        z = sill + np.linspace(at_front, at_rear, 8) * (skin.belt(x) - sill)
        line = scene.place(skin.side(np.column_stack([x, z])))
        stroke(scene.image, line, scene.tint(0.5))
        stroke(scene.image, line + [0, 1], scene.tint(1.25))
    for x in body.doors:
        gap = [(x, skin.belt(x)), (x, sill + 0.25), (x + 0.05, sill)]
        stroke(scene.image, scene.place(skin.side(gap)), scene.tint(0.4))
    for x in body.doors[1:]:
        z = skin.belt(x) - 0.14
        handle = [(x + 0.08, z), (x + 0.27, z), (x + 0.27, z - 0.035), (x + 0.08, z - 0.035)]
        fill(scene.image, [scene.place(skin.side(handle))], scene.tint(0.5))
    radius = body.wheel * make.wheel
    angle = np.linspace(0, np.pi, 15)
    for x in body.axles:
        arc = np.column_stack([x + 1.14 * radius * np.cos(angle), radius + 1.14 * radius * np.sin(angle)])
        feet = [(x - 1.14 * radius, body.clearance), (x + 1.14 * radius, body.clearance)]
        fill(scene.image, [scene.place(skin.side(np.concatenate([arc, feet])))], (18, 18, 20))


def cabin(scene: Scene, model: CarModel, trim: np.ndarray) -> None:
    """The near side above the belt: roof frame, windows, pillars and mirror."""
    skin, (post_top, post_foot, kick) = scene.skin, model.make.quarter
    frame = scene.place(skin.side(skin.cabin))
    shade(scene.image, frame, [scene.tint(1.1), scene.tint(0.85)])
    top = np.array(skin.roof) - [0, 0.075]
    top[0, 0] -= 0.08
    top[-1, 0] += post_top
    front, rear = skin.cowl[0] - 0.22, skin.deck[0] + post_foot
    foot = [(x, skin.belt(x) + 0.03) for x in (rear + 0.4, front)]
    line = rounded([(rear, skin.belt(rear) + 0.03 + kick), *foot])
    window = np.concatenate([line, top, line[:1]])
    pane = scene.place(skin.side(window))
    shade(scene.image, pane, scene.glass, 0.1, scene.waves)
    for x in model.body.doors[1:]:
        if rear + 0.15 < x < front:
            height = np.interp(-x, -top[:, 0], top[:, 1])
            pillar = [(x - 0.05, skin.belt(x)), (x + 0.05, skin.belt(x)), (x + 0.03, height), (x - 0.07, height)]
            fill(scene.image, [scene.place(skin.side(pillar))], (20, 20, 22))
    stroke(scene.image, pane, trim, closed=True)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    x, z = skin.cowl[0] - 0.38, skin.belt(skin.cowl[0]) + 0.1
    mirror = np.column_stack([x + 0.11 * np.cos(angle), z + 0.075 * np.sin(angle)])
    fill(scene.image, [scene.place(skin.side(mirror, 1.1))], scene.tint(0.7))


def end_panel(scene: Scene, outline, facing: int) -> np.ndarray | None:
    """The pixels of an outline (t, v) on the front or rear, None where it faces away."""
    points = np.asarray(outline, dtype=np.float32)
    pixels = scene.place(scene.skin.end(points, facing))
    turned = cv2.contourArea(points, oriented=True) * cv2.contourArea(pixels.astype(np.float32), oriented=True)
    return pixels if turned * facing > 0 else None


def rectangle(half: float, low: float, high: float) -> Outline:
    return ((-half, low), (half, low), (half, high), (-half, high))


def mirrored(outline: Outline) -> tuple[Outline, Outline]:
    return outline, tuple((-t, v) for t, v in outline)


def front_end(scene: Scene, make: Make, trim: np.ndarray) -> None:
    """Grille, intake, number plate and headlamps."""
    half = np.array(make.grille)
    outline = np.concatenate([half, half[::-1] * [-1, 1]])
    for dark in (rectangle(0.7, 0.06, 0.2), outline):
        if (pixels := end_panel(scene, dark, 1)) is not None:
            fill(scene.image, [pixels], (24, 24, 26))
    if pixels is not None:
        stroke(scene.image, pixels, trim, closed=True)
        rows, columns = make.bars
        for v in np.linspace(half[0, 1], half[-1, 1], rows + 2)[1:-1]:
            t = np.interp(-v, -half[:, 1], half[:, 0])
            stroke(scene.image, scene.place(scene.skin.end([(-t, v), (0, v), (t, v)], 1)), trim)
        for share in np.linspace(-1, 1, columns + 2)[1:-1]:
            stroke(scene.image, scene.place(scene.skin.end(half * [share, 1], 1)), trim)
    if (pixels := end_panel(scene, rectangle(0.28, 0.24, 0.42), 1)) is not None:
        fill(scene.image, [pixels], (215, 215, 208))
    for lamp in make.lamps:
        for outline in mirrored(lamp):
            if (pixels := end_panel(scene, outline, 1)) is not None:
                shade(scene.image, pixels, [(250, 250, 248), (150, 158, 168), (225, 228, 232)])
                stroke(scene.image, pixels, (40, 40, 44), closed=True)


def rear_end(scene: Scene, make: Make) -> None:
    """Bumper, boot lid, number plate and tail lamps."""
    for outline, colour in (
        (rectangle(0.85, 0.03, 0.16), (34, 34, 36)),
        (rectangle(0.3, 0.42, 0.6), (215, 215, 208)),
    ):
        if (pixels := end_panel(scene, outline, -1)) is not None:
            fill(scene.image, [pixels], colour)
    if (pixels := end_panel(scene, rectangle(0.72, 0.36, 0.97), -1)) is not None:
        stroke(scene.image, pixels, scene.tint(0.45), closed=True)
    for lamp in make.tail_lamps:
        for outline in mirrored(lamp):
            if (pixels := end_panel(scene, outline, -1)) is not None:
                shade(scene.image, pixels, [(225, 60, 50), (120, 12, 14), (190, 30, 28)])
                stroke(scene.image, pixels, (60, 10, 12), closed=True)


# ---- the picture ----------------------------------------------------------------------------------


def aim(skin: Skin, rng: np.random.Generator) -> tuple[Camera, float]:
    """A camera that shows the whole car, and the row of the horizon."""
    yaw = rng.uniform(0.2, 0.95) if rng.random() < 0.75 else rng.uniform(-0.85, -0.2)
    camera = Camera(yaw, rng.uniform(6.5, 11), rng.uniform(1.0, 2.0), 1.0, (0, 0))
    half = skin.length / 2
    corners = [[x, y, z] for x in (half, -half) for y in (0.85, -0.85) for z in (0, skin.roof_height)]
    pixels = camera.project(np.array(corners, dtype=float))
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = high - low
    focal = rng.uniform(0.78, 0.98) * min(WIDTH / size[0], 0.8 * HEIGHT / size[1])
    slack = np.array([WIDTH, HEIGHT]) - focal * size
    corner = slack * [rng.uniform(0.3, 0.7), rng.uniform(0.45, 0.85)]
    centre = corner - focal * low
    return camera._replace(focal=focal, centre=tuple(centre)), centre[1]


def develop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast, colour cast, lens blur and sensor noise."""
    level = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.35)
    table = 255 * (level * rng.uniform(0.75, 1.15) * rng.uniform(0.93, 1.07, 3) + rng.uniform(0, 0.06))
    image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[:, None])
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    strength = rng.uniform(2, 9)
    grain = rng.integers(-128, 128, (HEIGHT, WIDTH, 1), dtype=np.int8) * np.float32(strength / 128)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def draw(model: CarModel, rng: np.random.Generator) -> np.ndarray:
    """One picture of the car, uint8 RGB of shape (HEIGHT, WIDTH, 3).

    Place, colour, viewpoint and light are drawn from `rng`; the shape is the model's alone.
    """
    skin = skin_of(model)
    camera, horizon = aim(skin, rng)
    image, sky = backdrop(rng, horizon)
    paint = np.clip(rng.choice(PAINTS) + rng.uniform(-18, 18, 3), 8, 240)
    reflection = sky * rng.uniform(0.3, 0.8)
    glass = np.array([reflection, reflection * 0.5 + 12, grey(rng.uniform(20, 60))])
    waves = rng.uniform(-0.08, 0.08, (3, 7)).astype(np.float32)
    rim = grey(rng.choice([70, 165, 205])) * rng.uniform(0.9, 1.15)
    trim = grey(rng.choice([35, 185]))
    scene = Scene(image, skin, camera, paint, sky, glass, waves)

    shadow(scene, rng)
    wheels(scene, model, -0.85, rim, 0)
    strips(scene, skin.front)
    strips(scene, skin.rear)
    strips(scene, skin.cabin)
    glazing(scene, skin.cowl, skin.roof[0], 0.9)
    glazing(scene, skin.deck, skin.roof[-1], 0.82)
    cabin(scene, model, trim)
    flank(scene, model)
    wheels(scene, model, 0.87, rim, rng.uniform(0, 2 * np.pi))
    if camera.yaw > 0:
        front_end(scene, model.make, trim)
    else:
        rear_end(scene, model.make)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    return develop(np.ascontiguousarray(image), rng)
