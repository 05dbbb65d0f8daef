"""The demo data set: car-like pictures drawn by our own code, so that the pipeline runs with no download.

A class is a body type with the look of a make, as 'Velora Linea Sedan 2012'. Classes share colours, places,
viewpoints and light and differ in shape alone: the body type gives the roof line, the make gives lamps,
grille, bonnet, windows and wheels. `TARGET` is what the study classifies; `SOURCE`, of other makes, is
what a backbone is pretrained on, as ImageNet is for the paper.
"""

import hashlib
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from carcls.sources import Photograph
from carcls.sources.cars import Body, CarModel, Make
from carcls.sources.drawing import HEIGHT, WIDTH, draw

__all__ = ["HEIGHT", "SOURCE", "TARGET", "WIDTH", "CarModel", "draw", "photographs"]

BODIES = {
    body.name: body
    for body in (
        Body("Sedan", 4.6, 0.22, 0.74, (0.95, 0.98), ((0.2, 1.41), (-0.4, 1.46), (-1.05, 1.37)), (-1.75, 1.04),
             0.98, (1.42, -1.33), 0.32, (0.9, -0.12, -1.05)),
        Body("Coupe", 4.4, 0.19, 0.68, (0.7, 0.94), ((-0.05, 1.26), (-0.5, 1.3), (-0.95, 1.23)), (-1.9, 0.98),
             0.94, (1.38, -1.3), 0.33, (0.75, -0.62)),
        Body("SUV", 4.5, 0.3, 0.9, (1.05, 1.14), ((0.45, 1.66), (-0.5, 1.73), (-1.72, 1.66)), (-2.1, 1.14),
             1.1, (1.38, -1.32), 0.37, (0.95, -0.12, -1.1), 0.2),
        Body("Hatchback", 4.0, 0.22, 0.74, (0.95, 0.98), ((0.3, 1.43), (-0.4, 1.49), (-1.35, 1.4)), (-1.82, 1.02),
             0.96, (1.25, -1.25), 0.32, (0.85, -0.2, -1.05)),
        Body("Wagon", 4.7, 0.22, 0.74, (0.98, 0.98), ((0.25, 1.42), (-0.5, 1.47), (-1.8, 1.41)), (-2.2, 1.02),
             0.96, (1.45, -1.32), 0.32, (0.92, -0.12, -1.08)),
        Body("Minivan", 4.7, 0.23, 0.82, (1.4, 1.06), ((0.6, 1.66), (-0.4, 1.74), (-1.95, 1.67)), (-2.22, 1.1),
             1.04, (1.5, -1.4), 0.33, (1.05, 0.0, -1.15)),
        Body("Pickup", 5.2, 0.32, 0.95, (1.2, 1.16), ((0.6, 1.67), (0.1, 1.73), (-0.6, 1.68)), (-0.8, 1.16),
             1.12, (1.7, -1.6), 0.38, (1.1, 0.2, -0.7)),
    )
}  # fmt: skip


def oval(t: float, v: float, width: float, height: float) -> tuple[tuple[float, float], ...]:
    """A lamp's outline around (t, v)."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return tuple((t + width * np.cos(a), v + height * np.sin(a)) for a in angles)


def box(t0: float, t1: float, v0: float, v1: float) -> tuple[tuple[float, float], ...]:
    return ((t0, v0), ((t0 + t1) / 2, v0), (t1, v0), (t1, v1), ((t0 + t1) / 2, v1), (t0, v1))


TARGET_MAKES = (
    # upright, formal: square lamps, a tall chrome grille, a thick post, solid many-spoked wheels
    Make("Brunholt", (box(0.62, 1.02, 0.58, 0.9),), ((0.5, 0.95), (0.46, 0.42)), (0, 7),
         (box(0.75, 1.1, 0.45, 0.95),), 0.08, 0.06, -0.1, 1.04, 0.0, (0.05, 0.5, 0.0), 0.97, 14, 0.5,
         ((0.62, 0.62),)),
    # round twin lamps, a small low oval grille, upswept window line
    Make("Kestrin", (oval(0.83, 0.72, 0.17, 0.2), oval(0.45, 0.7, 0.11, 0.13)),
         ((0.1, 0.62), (0.3, 0.56), (0.34, 0.47), (0.3, 0.4), (0.1, 0.36)), (3, 0),
         (oval(0.8, 0.72, 0.15, 0.18),), -0.02, 0.24, -0.02, 0.97, 0.1, (0.15, 0.75, 0.16), 1.0, 5, 0.55,
         ((0.3, 0.95),)),
    # thin slit lamps that run far round the corner, no grille but a low wide mouth
    Make("Solvane", (((0.4, 0.84), (0.8, 0.84), (1.0, 0.84), (1.32, 0.97), (1.0, 0.97), (0.7, 0.92)),),
         ((0.4, 0.5), (0.85, 0.2)), (2, 0),
         (((0.1, 0.78), (1.0, 0.74), (1.35, 0.82), (1.0, 0.9), (0.1, 0.88)),),
         -0.02, 0.34, 0.16, 1.0, 0.05, (0.0, 0.2, 0.0), 1.07, 10, 0.28, ((0.2, 0.32), (0.85, 0.85))),
    # drop-shaped lamps, a wide shield grille, a pointed rear quarter
    Make("Velora", (((0.6, 0.6), (0.95, 0.5), (1.15, 0.72), (1.3, 1.02), (0.95, 0.92), (0.7, 0.8)),),
         ((0.32, 0.92), (0.42, 0.7), (0.0, 0.3)), (4, 1),
         (((0.7, 0.95), (1.25, 0.98), (1.1, 0.7), (0.92, 0.45), (0.85, 0.7)),),
         0.02, 0.15, 0.06, 1.0, 0.02, (0.1, 0.28, 0.06), 1.04, 7, 0.4, ((0.78, 0.5),)),
)  # fmt: skip

SOURCE_MAKES = (
    Make("Aldermoor", (oval(0.8, 0.7, 0.2, 0.24),), ((0.42, 0.92), (0.5, 0.7), (0.42, 0.45)), (6, 0),
         (box(0.8, 1.05, 0.3, 0.9),), 0.06, 0.1, -0.08, 1.02, 0.0, (0.1, 0.3, 0.0), 0.98, 6, 0.6,
         ((0.7, 0.7),)),
    Make("Cavretti", (((0.55, 0.7), (1.0, 0.62), (1.35, 0.86), (1.0, 0.9)),), ((0.2, 0.55), (0.5, 0.25)), (0, 5),
         (oval(0.82, 0.7, 0.13, 0.15), oval(0.5, 0.7, 0.11, 0.13)), -0.02, 0.32, -0.12, 0.95, 0.06,
         (0.1, 0.6, 0.1), 1.06, 5, 0.35, ((0.25, 0.8),)),
    Make("Dunmarrow", (box(0.7, 1.12, 0.68, 0.94), box(0.75, 1.0, 0.48, 0.6)), ((0.6, 0.94), (0.6, 0.5)), (2, 0),
         (box(0.82, 1.12, 0.5, 0.98),), 0.1, 0.05, -0.04, 1.05, -0.02, (0.0, 0.16, 0.0), 1.04, 6, 0.45,
         ((0.5, 0.5), (0.9, 0.9))),
    Make("Fjellgard", (box(0.55, 1.25, 0.74, 0.94),), ((0.36, 0.88), (0.36, 0.5)), (5, 0),
         (box(0.82, 1.05, 0.3, 1.0),), 0.04, 0.12, 0.0, 1.0, 0.04, (0.2, 0.45, 0.05), 1.0, 8, 0.5,
         ((0.88, 0.8),)),
    Make("Harukawa", (((0.45, 0.7), (1.0, 0.6), (1.45, 0.95), (1.0, 0.85)),), ((0.5, 0.75), (0.3, 0.55)), (1, 0),
         (((0.5, 0.6), (1.0, 0.55), (1.3, 0.9), (1.0, 0.85)),), -0.03, 0.25, 0.14, 1.0, 0.12,
         (0.0, 0.5, 0.12), 1.02, 10, 0.35, ((0.3, 0.55), (0.9, 0.95))),
    Make("Pellonia", (oval(0.72, 0.75, 0.25, 0.14),), ((0.1, 0.95), (0.24, 0.8), (0.2, 0.45), (0.1, 0.38)), (0, 3),
         (oval(0.85, 0.65, 0.12, 0.28),), 0.0, 0.2, 0.08, 1.05, 0.0, (0.25, 0.65, 0.0), 0.92, 12, 0.3, ()),
    Make("Tessaro", (((0.5, 0.9), (1.0, 0.86), (1.3, 0.94), (1.0, 0.98)), oval(0.85, 0.5, 0.1, 0.12)),
         ((0.65, 0.72), (0.75, 0.5), (0.5, 0.3)), (0, 9), (((0.05, 0.7), (1.2, 0.7), (1.2, 0.8), (0.05, 0.8)),),
         -0.01, 0.28, 0.1, 0.97, 0.08, (0.0, 0.25, 0.04), 1.1, 3, 0.6, ((0.35, 0.35),)),
    Make("Wexcombe", (((0.66, 0.45), (1.0, 0.45), (1.1, 0.9), (0.75, 0.95)),),
         ((0.25, 0.96), (0.45, 0.85), (0.45, 0.4), (0.25, 0.34)), (3, 3), (box(0.6, 1.2, 0.7, 0.92),),
         0.05, 0.14, -0.06, 1.0, 0.03, (0.15, 0.4, 0.12), 0.95, 4, 0.5, ((0.55, 0.75),)),
)  # fmt: skip


def lineup(makes: tuple[Make, ...], names: str) -> tuple[CarModel, ...]:
    """The models of a table whose lines are 'Make Model Type Year', sorted by name."""
    by_name = {make.name: make for make in makes}
    lines = sorted(line.strip() for line in names.strip().splitlines())
    parts = [line.split() for line in lines]
    return tuple(CarModel(line, by_name[p[0]], BODIES[p[2]]) for line, p in zip(lines, parts, strict=True))


TARGET = lineup(
    TARGET_MAKES,
    """
    Brunholt Regent Sedan 2011
    Brunholt Falke Coupe 2009
    Brunholt Bastion SUV 2012
    Kestrin Merle Sedan 2010
    Kestrin Swift Coupe 2012
    Kestrin Moor SUV 2011
    Solvane Aria Sedan 2012
    Solvane Zephyr Coupe 2011
    Solvane Terra SUV 2009
    Velora Linea Sedan 2012
    Velora Corsa Coupe 2010
    Velora Monte SUV 2012
    """,
)

SOURCE = lineup(
    SOURCE_MAKES,
    """
    Aldermoor Earl Sedan 2008
    Aldermoor Heath SUV 2012
    Aldermoor Page Hatchback 2010
    Cavretti Lampo Coupe 2012
    Cavretti Duca Sedan 2011
    Cavretti Alpe SUV 2010
    Dunmarrow Drover Pickup 2012
    Dunmarrow Ridge SUV 2007
    Dunmarrow Charger Coupe 2011
    Fjellgard Nord Wagon 2010
    Fjellgard Sund Sedan 2012
    Fjellgard Tind SUV 2011
    Harukawa Kaze Sedan 2012
    Harukawa Mori Minivan 2009
    Harukawa Hane Coupe 2010
    Pellonia Petit Hatchback 2012
    Pellonia Famille Minivan 2011
    Pellonia Belle Coupe 2008
    Tessaro Volta Sedan 2012
    Tessaro Onda Hatchback 2011
    Tessaro Cima SUV 2012
    Wexcombe Vale Wagon 2009
    Wexcombe Squire Sedan 2007
    Wexcombe Hauler Pickup 2010
    """,
)


def photographs(models: Iterable[CarModel], seed: int, train: int, test: int) -> Iterator[Photograph]:
    """`train` + `test` JPEG pictures of each model, in order of name.

    A picture depends on seed, class, split and number alone: more classes or pictures change no other.
    """
    for split, count in (("test", test), ("train", train)):
        for model in sorted(models, key=lambda model: model.name):
            for number in range(1, count + 1):
                key = f"{seed}/{split}/{model.name}/{number}"
                entropy = int.from_bytes(hashlib.sha256(key.encode()).digest())
                picture = draw(model, np.random.default_rng(entropy))
                _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
                yield Photograph(f"{split}/{model.name}/{number:04}.jpg", model.name, split, data.tobytes())
