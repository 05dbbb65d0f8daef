"""The cars of the demo data set: small 3D models, each a body type with the look of a make.

Lengths are metres: x points forward from the middle of the car, y to the near side (the one that faces the
camera), z up from the road. A point of the car's skin is written (x, z, u): the side view's (x, z) and the
place u across the car, from 1 (the near side) to -1 (the far side).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

HALF_WIDTH = 0.9

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Body:
    """A body type: the side view as points (x, z), listed from the front to the rear."""

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
    doors: tuple[float, ...]  # x of the gaps at the doors; behind the first each carries a window pillar
    cladding: float = 0.0  # height of the unpainted strip along the sill


@dataclass(frozen=True)
class Make:
    """The common look of a make, applied to every body type.

    Lamps and grille are outlines (t, v): t runs from 0 in the middle of the front to 1 at its corner
    and on along the car's side, v from 0 at the lower edge of the bumper to 1 at the bonnet.
    """

    name: str
    lamps: tuple[Outline, ...]
    grille: Outline  # the half with t >= 0, from top to bottom
    bars: tuple[int, int]  # the grille's horizontal and vertical bars
    nose: float  # added to the height of the bonnet's front edge
    rake: float  # how far that edge stands back from the bumper
    cab: float  # how far the cabin is moved forward
    roof: float  # factor on the height of the roof above the cowl
    belt: float  # rise of the lower window line from front to rear
    quarter: tuple[float, float, float]  # rear window post: width on top, at the foot; kick of the line
    wheel: float  # factor on the wheel's radius
    spokes: int
    spoke_width: float  # as a share of the angle between two spokes
    creases: tuple[tuple[float, float], ...]  # height at front and rear: 0 at the sill, 1 at the belt


@dataclass(frozen=True)
class CarModel:
    """A class of the data set: a body type with the look of a make."""

    name: str
    make: Make
    body: Body


class Part(NamedTuple):
    """A polygon of the car: rows of `Car.points`, how it is painted, and whether it is one-sided.

    A one-sided part is visible only if its corners run clockwise in the picture.
    """

    rows: slice
    finish: str
    value: float
    one_sided: bool


class Car:
    """The parts of a model in the order in which they are painted, distant ones first.

    `points`, float64 of shape (n, 3), has the corners of all parts. `hubs`, of the same shape, has the point
    around which a corner turns with its wheel (nan if it does not turn).
    """

    def __init__(self, model: CarModel):
        self.body, self.make = model.body, model.make
        self.parts: list[Part] = []
        self._points: list[np.ndarray] = []
        self._hubs: list[np.ndarray] = []
        self._shape()
        self._wheels(-HALF_WIDTH + 0.05)
        self._shell()
        self._cabin()
        self._flank()
        self._wheels(HALF_WIDTH - 0.04)
        self._front()
        self.points = np.concatenate(self._points)
        self.hubs = np.concatenate(self._hubs)

    def _add(self, finish: str, points: np.ndarray, value: float = 1.0, one_sided=False, hub=None) -> None:
        start = sum(map(len, self._points))
        self.parts.append(Part(slice(start, start + len(points)), finish, value, one_sided))
        self._points.append(points)
        self._hubs.append(np.broadcast_to(np.nan if hub is None else hub, points.shape))

    def _shape(self) -> None:
        """The curves of the side view."""
        body, make = self.body, self.make
        front, rear, low = body.length / 2, -body.length / 2, body.clearance
        self.nose = body.nose + make.nose
        self.tail = body.tail + make.belt / 2
        self.cowl = (body.cowl[0] + make.cab, body.cowl[1])
        self.deck = (body.deck[0] + make.cab / 2, body.deck[1] + make.belt / 2)
        rise = [self.cowl[1] + (z - self.cowl[1]) * make.roof for _, z in body.roof]
        self.roof = [(x + make.cab, z) for (x, _), z in zip(body.roof, rise, strict=True)]
        self.top = max(rise)
        edge = (front - make.rake, self.nose)
        bonnet = ((edge[0] + self.cowl[0]) / 2, (self.nose + self.cowl[1]) / 2 + 0.05)
        bumper = [(front - 0.15, low), (front, low + 0.1), (front, (low + self.nose) / 2)]
        self.front = rounded([*bumper, edge, bonnet, self.cowl])
        lid = [self.deck, (rear + 0.1, self.tail), (rear, (low + self.tail) / 2)]
        self.rear = rounded([*lid, (rear, low + 0.12), (rear + 0.2, low)])
        self.cabin = rounded([self.cowl, *self.roof, self.deck])

    def _at(self, points, u) -> np.ndarray:
        """Coordinates, shape (n, 3), of the side view's points (x, z) at the places `u` across the car."""
        x, z = np.asarray(points, dtype=float).T
        end = np.abs(2 * x / self.body.length) ** 6  # front and rear are curved in plan
        above = np.clip((z - self.cowl[1]) / (self.top - self.cowl[1]), 0, 1)
        u = np.broadcast_to(u, x.shape)
        y = u * HALF_WIDTH * (1 - 0.2 * above)
        return np.stack([x - np.sign(x) * end * 0.24 * np.abs(u) ** 3, y, z - 0.04 * u**4], axis=1)

    def _across(self, start, stop, half: float) -> np.ndarray:
        """The sheet between two points of the side view, from `half` of the near side to the far side."""
        u = np.linspace(half, -half, 7)
        edges = [self._at(np.tile(point, (7, 1)), u) for point in (start, stop)]
        return np.concatenate([edges[0], edges[1][::-1]])

    def _ahead(self, finish: str, outline) -> None:
        """Add an outline (t, v) on the front (see `Make`)."""
        t, v = np.asarray(outline, dtype=float).T
        z = self.body.clearance + v * (self.nose - self.body.clearance)
        x = np.interp(z, self.front[:, 1], self.front[:, 0]) - np.maximum(np.abs(t) - 1, 0) * HALF_WIDTH
        points = self._at(np.stack([x, z], axis=1), np.clip(t, -1, 1))
        area = t @ np.roll(v, -1) - v @ np.roll(t, -1)
        self._add(finish, points[::-1] if area > 0 else points, one_sided=True)

    def belt(self, x):
        """Height of the belt, the line between the door panels and the windows."""
        (x0, z0), (x1, z1) = self.cowl, self.deck
        return z0 + (np.clip(x, x1, x0) - x0) * (z1 - z0) / (x1 - x0)

    def _ceiling(self, x):
        """The largest height of a side window inside its frame."""
        return np.interp(-x, -self.cabin[:, 0], self.cabin[:, 1]) - 0.06

    def _wheels(self, y: float) -> None:
        """Both wheels whose outer faces lie at `y`."""
        radius, make = self.body.wheel * self.make.wheel, self.make
        circle = polar(np.linspace(0, 2 * np.pi, 24, endpoint=False), 1)
        spread = make.spoke_width * np.pi / make.spokes * np.array([-0.8, -1, 1, 0.8])
        angles = np.add.outer(np.arange(make.spokes) * 2 * np.pi / make.spokes, spread).ravel()
        star = polar(angles, np.tile([0.16, 0.72, 0.72, 0.16], make.spokes))
        for x in self.body.axles:
            hub = np.array([x, y, radius])
            outer = hub + radius * circle
            self._add("tyre", np.concatenate([outer, outer - [0, 0.1 * np.sign(y), 0]]))
            if y > 0:
                self._add("rim", hub + 0.76 * radius * circle, 0.85)
                self._add("rim", hub + 0.69 * radius * circle, 0.25)
                self._add("rim", hub + radius * star, 1.0, hub=hub)
                self._add("rim", hub + 0.19 * radius * circle, 0.8)

    def _shell(self) -> None:
        """The parts across the car: bumpers, bonnet, roof, boot, windscreen and rear window."""
        for curve in (self.front, self.rear[::-1], self.cabin):
            for i, (start, stop) in enumerate(zip(curve, curve[1:], strict=False)):
                run, rise = stop - start
                # each sheet reaches under the next, so that no seam is visible
                far = curve[min(i + 2, len(curve) - 1)]
                sheet = self._across(start, far, 1)
                at_rear = curve is not self.cabin and start[0] < 0
                upwards = (run if at_rear else -run) / np.hypot(run, rise)
                self._add("shell", sheet[::-1] if at_rear else sheet, upwards, one_sided=True)
        for foot, top, half in ((self.cowl, self.roof[0], 0.9), (self.deck, self.roof[-1], 0.82)):
            low, slope = np.array(foot), np.subtract(top, foot)
            pane = self._across(low + 0.1 * slope, low + 0.92 * slope, half)
            self._add("glass", pane if foot is self.cowl else pane[::-1], one_sided=True)

    def _cabin(self) -> None:
        """The near side above the belt: frame, windows, pillars and mirror."""
        post_top, post_foot, kick = self.make.quarter
        self._add("frame", self._at(self.cabin, 1))
        top = np.array(self.roof) - [0, 0.075]
        top[0, 0] -= 0.08
        top[-1, 0] += post_top
        front, rear = self.cowl[0] - 0.22, self.deck[0] + post_foot
        x = np.array([rear, rear + 0.4, front])
        foot = np.stack([x, self.belt(x) + [kick, 0, 0]], axis=1)
        window = np.concatenate([rounded(foot) + [0, 0.03], top])
        window[:, 1] = np.minimum(window[:, 1], self._ceiling(window[:, 0]))
        self._add("window", self._at(window, 1))
        for door in self.body.doors[1:]:
            z = min(np.interp(-door, -top[:, 0], top[:, 1]), self._ceiling(door - 0.07))
            belt = self.belt(door)
            if rear + 0.15 < door < front and z > belt + 0.15:
                pillar = [(door - 0.05, belt), (door + 0.05, belt), (door + 0.03, z), (door - 0.07, z)]
                self._add("black", self._at(pillar, 1))
        angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        ellipse = np.column_stack([0.11 * np.cos(angles), 0.075 * np.sin(angles)])
        self._add("paint", self._at(ellipse + self.cowl + [-0.38, 0.1], 1.1), 0.7)

    def _flank(self) -> None:
        """The near side below the belt: panels, creases, door gaps and handles, wheel arches."""
        body, sill = self.body, self.body.clearance + 0.1
        front, rear = body.length / 2, -body.length / 2
        self._add("panel", self._at(np.concatenate([self.front, self.rear]), 1))
        if body.cladding:
            low, high = body.clearance, body.clearance + body.cladding
            strip = [(front - 0.15, low), (front - 0.02, high), (rear + 0.02, high), (rear + 0.2, low)]
            self._add("cladding", self._at(strip, 1))
        x = np.linspace(min(body.axles[0], self.cowl[0]) + 0.3, rear + 0.3, 8)
        for crease in self.make.creases:
            z = sill + np.linspace(*crease, 8) * (self.belt(x) - sill)
            for drop, light in ((0, 0.5), (0.03, 1.25)):
                self._add("line", self._at(np.stack([x, z - drop], axis=1), 1), light)
        for door in body.doors:
            gap = [(door, self.belt(door)), (door, sill + 0.25), (door + 0.05, sill)]
            self._add("line", self._at(gap, 1), 0.4)
        for door in body.doors[1:]:
            front, rear, high = door + 0.27, door + 0.08, self.belt(door) - 0.14
            handle = [(rear, high), (front, high), (front, high - 0.035), (rear, high - 0.035)]
            self._add("paint", self._at(handle, 1), 0.5)
        radius = 1.14 * body.wheel * self.make.wheel
        arc = polar(np.linspace(0, np.pi, 13), radius)[:, [0, 2]]
        for axle in body.axles:
            feet = [(axle - radius, body.clearance), (axle + radius, body.clearance)]
            self._add("black", self._at(np.concatenate([arc + [axle, radius / 1.14], feet]), 1))

    def _front(self) -> None:
        """Intake, grille with its bars, number plate and headlamps."""
        make, half = self.make, np.array(self.make.grille)
        self._ahead("black", rectangle(0.7, 0.06, 0.2))
        self._ahead("grille", both(half))
        rows, columns = make.bars
        for v in np.linspace(half[0, 1], half[-1, 1], rows + 2)[1:-1]:
            self._ahead("trim", rectangle(np.interp(-v, -half[:, 1], half[:, 0]), v - 0.015, v + 0.015))
        for share in np.linspace(-1, 1, columns + 2)[1:-1]:
            bar = half * [share, 1]
            self._ahead("trim", np.concatenate([bar - [0.012, 0], bar[::-1] + [0.012, 0]]))
        self._ahead("plate", rectangle(0.28, 0.22, 0.38))
        for lamp in make.lamps:
            for sign in (-1, 1):
                self._ahead("lamp", np.array(lamp) * [sign, 1])


def polar(angles: np.ndarray, radius) -> np.ndarray:
    """Points, shape (n, 3), around the y axis."""
    return np.stack([radius * np.cos(angles), np.zeros_like(angles), radius * np.sin(angles)], axis=1)


def rectangle(half: float, low: float, high: float) -> np.ndarray:
    """An outline (t, v), with corners in its middle to follow the curve of the front."""
    return np.array([(-half, low), (0, low), (half, low), (half, high), (0, high), (-half, high)])


def both(half: np.ndarray) -> np.ndarray:
    """The whole outline from its right half."""
    return np.concatenate([half, half[::-1] * [-1, 1]])


def rounded(corners) -> np.ndarray:
    """A smooth curve, shape (n, 2), near the line through `corners` (Chaikin's corner cutting)."""
    line = np.asarray(corners, dtype=float)
    for _ in range(2):
        cut = np.stack([0.8 * line[:-1] + 0.2 * line[1:], 0.2 * line[:-1] + 0.8 * line[1:]], axis=1)
        line = np.concatenate([line[:1], cut.reshape(-1, 2)[1:-1], line[-1:]])
    return line


car_of = lru_cache(maxsize=None)(Car)
