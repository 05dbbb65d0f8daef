"""The demo data set: drawn cars, with which the pipeline runs without a download.

A class is a body type with the look of a make, such as 'Velora Linea Sedan 2012'. Classes share colours,
places, viewpoints and light, and differ only in shape. The body type determines the roof line, the make the
lamps, grille, bonnet, windows and wheels. The study classifies the models in `TARGET`. Backbones are
pretrained on the models in `SOURCE`, of other makes, which take the place of ImageNet.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from carcls.base.seeds import generator
from carcls.data.sources import Photograph, Source
from carcls.demo.cars import Body, CarModel, Make
from carcls.demo.drawing import HEIGHT, WIDTH, draw
from carcls.imageset.images import encode

__all__ = ["HEIGHT", "SOURCE", "TARGET", "WIDTH", "CarModel", "draw", "photographs"]

QUALITY = 90  # of the JPEGs

BODIES = {
    body.name: body
    for body in (
        Body("Sedan", length=4.6, clearance=0.22, nose=0.74, cowl=(0.95, 0.98),
             roof=((0.2, 1.41), (-0.4, 1.46), (-1.05, 1.37)), deck=(-1.75, 1.04), tail=0.98,
             axles=(1.42, -1.33), wheel=0.32, doors=(0.9, -0.12, -1.05)),
        Body("Coupe", length=4.4, clearance=0.16, nose=0.65, cowl=(0.6, 0.9),
             roof=((-0.15, 1.2), (-0.55, 1.23), (-0.95, 1.17)), deck=(-1.95, 0.95), tail=0.91,
             axles=(1.38, -1.3), wheel=0.33, doors=(0.7, -0.68)),
        Body("SUV", length=4.5, clearance=0.3, nose=0.9, cowl=(1.05, 1.14),
             roof=((0.45, 1.66), (-0.5, 1.73), (-1.72, 1.66)), deck=(-2.1, 1.14), tail=1.1,
             axles=(1.38, -1.32), wheel=0.37, doors=(0.95, -0.12, -1.1), cladding=0.2),
        Body("Hatchback", length=4.0, clearance=0.22, nose=0.74, cowl=(0.95, 0.98),
             roof=((0.3, 1.43), (-0.4, 1.49), (-1.35, 1.4)), deck=(-1.82, 1.02), tail=0.96,
             axles=(1.25, -1.25), wheel=0.32, doors=(0.85, -0.2, -1.05)),
        Body("Wagon", length=4.7, clearance=0.22, nose=0.74, cowl=(0.98, 0.98),
             roof=((0.25, 1.42), (-0.5, 1.47), (-1.8, 1.41)), deck=(-2.2, 1.02), tail=0.96,
             axles=(1.45, -1.32), wheel=0.32, doors=(0.92, -0.12, -1.08)),
        Body("Minivan", length=4.7, clearance=0.23, nose=0.82, cowl=(1.4, 1.06),
             roof=((0.6, 1.66), (-0.4, 1.74), (-1.95, 1.67)), deck=(-2.22, 1.1), tail=1.04,
             axles=(1.5, -1.4), wheel=0.33, doors=(1.05, 0.0, -1.15)),
        Body("Pickup", length=5.2, clearance=0.32, nose=0.95, cowl=(1.2, 1.16),
             roof=((0.6, 1.67), (0.1, 1.73), (-0.6, 1.68)), deck=(-0.8, 1.16), tail=1.12, axles=(1.7, -1.6),
             wheel=0.38, doors=(1.1, 0.2, -0.7)),
    )
}  # fmt: skip


def oval(t: float, v: float, width: float, height: float) -> tuple[tuple[float, float], ...]:
    """The outline of a lamp around (t, v)."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return tuple((t + width * np.cos(a), v + height * np.sin(a)) for a in angles)


def box(t0: float, t1: float, v0: float, v1: float) -> tuple[tuple[float, float], ...]:
    """The outline of a lamp from t0 to t1 and v0 to v1, with corners halfway to follow the curve."""
    return ((t0, v0), ((t0 + t1) / 2, v0), (t1, v0), (t1, v1), ((t0 + t1) / 2, v1), (t0, v1))


TARGET_MAKES = (
    # upright and formal: square lamps, a tall grille, a thick rear post, wheels of many spokes
    Make("Brunholt", lamps=(box(0.62, 1.02, 0.58, 0.9),), grille=((0.5, 0.95), (0.46, 0.42)), bars=(0, 7),
         nose=0.08, rake=0.05, cab=-0.14, roof=1.06, belt=0.0, quarter=(0.05, 0.5, 0.0), wheel=0.97,
         spokes=14, spoke_width=0.5, creases=((0.62, 0.62),)),
    # round twin lamps, a small low oval grille, a window line that sweeps up
    Make("Kestrin", lamps=(oval(0.84, 0.7, 0.2, 0.23), oval(0.43, 0.68, 0.13, 0.16)),
         grille=((0.1, 0.62), (0.3, 0.56), (0.34, 0.47), (0.3, 0.4), (0.1, 0.36)), bars=(3, 0), nose=-0.02,
         rake=0.24, cab=-0.04, roof=0.97, belt=0.12, quarter=(0.15, 0.75, 0.16), wheel=1.0, spokes=5,
         spoke_width=0.55, creases=((0.3, 0.95),)),
    # thin slit lamps that run round the corner, a low wide mouth instead of a grille, the cabin far forward
    Make("Solvane", lamps=(((0.4, 0.84), (0.8, 0.84), (1.0, 0.84), (1.32, 0.97), (1.0, 0.97), (0.7, 0.92)),),
         grille=((0.4, 0.5), (0.85, 0.2)), bars=(2, 0), nose=-0.02, rake=0.34, cab=0.2, roof=1.0, belt=0.05,
         quarter=(0.0, 0.2, 0.0), wheel=1.07, spokes=10, spoke_width=0.28,
         creases=((0.2, 0.32), (0.85, 0.85))),
    # drop-shaped lamps, a shield grille, a slim rear post
    Make("Velora",
         lamps=(((0.56, 0.6), (0.95, 0.42), (1.15, 0.68), (1.35, 1.02), (0.95, 0.94), (0.66, 0.82)),),
         grille=((0.4, 0.95), (0.5, 0.72), (0.06, 0.16)), bars=(4, 1), nose=0.02, rake=0.15, cab=0.06,
         roof=1.0, belt=0.02, quarter=(0.1, 0.28, 0.06), wheel=1.04, spokes=7, spoke_width=0.4,
         creases=((0.78, 0.5),)),
)  # fmt: skip

SOURCE_MAKES = (
    Make("Aldermoor", lamps=(oval(0.8, 0.7, 0.2, 0.24),), grille=((0.42, 0.92), (0.5, 0.7), (0.42, 0.45)),
         bars=(6, 0), nose=0.06, rake=0.1, cab=-0.08, roof=1.02, belt=0.0, quarter=(0.1, 0.3, 0.0),
         wheel=0.98, spokes=6, spoke_width=0.6, creases=((0.7, 0.7),)),
    Make("Cavretti", lamps=(((0.55, 0.7), (1.0, 0.62), (1.35, 0.86), (1.0, 0.9)),),
         grille=((0.2, 0.55), (0.5, 0.25)), bars=(0, 5), nose=-0.02, rake=0.32, cab=-0.12, roof=0.95,
         belt=0.06, quarter=(0.1, 0.6, 0.1), wheel=1.06, spokes=5, spoke_width=0.35, creases=((0.25, 0.8),)),
    Make("Dunmarrow", lamps=(box(0.7, 1.12, 0.68, 0.94), box(0.75, 1.0, 0.48, 0.6)),
         grille=((0.6, 0.94), (0.6, 0.5)), bars=(2, 0), nose=0.1, rake=0.05, cab=-0.04, roof=1.05,
         belt=-0.02, quarter=(0.0, 0.16, 0.0), wheel=1.04, spokes=6, spoke_width=0.45,
         creases=((0.5, 0.5), (0.9, 0.9))),
    Make("Fjellgard", lamps=(box(0.55, 1.25, 0.74, 0.94),), grille=((0.36, 0.88), (0.36, 0.5)), bars=(5, 0),
         nose=0.04, rake=0.12, cab=0.0, roof=1.0, belt=0.04, quarter=(0.2, 0.45, 0.05), wheel=1.0, spokes=8,
         spoke_width=0.5, creases=((0.88, 0.8),)),
    Make("Harukawa", lamps=(((0.45, 0.7), (1.0, 0.6), (1.45, 0.95), (1.0, 0.85)),),
         grille=((0.5, 0.75), (0.3, 0.55)), bars=(1, 0), nose=-0.03, rake=0.25, cab=0.14, roof=1.0,
         belt=0.12, quarter=(0.0, 0.5, 0.12), wheel=1.02, spokes=10, spoke_width=0.35,
         creases=((0.3, 0.55), (0.9, 0.95))),
    Make("Pellonia", lamps=(oval(0.72, 0.75, 0.25, 0.14),),
         grille=((0.1, 0.95), (0.24, 0.8), (0.2, 0.45), (0.1, 0.38)), bars=(0, 3), nose=0.0, rake=0.2,
         cab=0.08, roof=1.05, belt=0.0, quarter=(0.25, 0.65, 0.0), wheel=0.92, spokes=12, spoke_width=0.3,
         creases=()),
    Make("Tessaro", lamps=(((0.5, 0.9), (1.0, 0.86), (1.3, 0.94), (1.0, 0.98)), oval(0.85, 0.5, 0.1, 0.12)),
         grille=((0.65, 0.72), (0.75, 0.5), (0.5, 0.3)), bars=(0, 9), nose=-0.01, rake=0.28, cab=0.1,
         roof=0.97, belt=0.08, quarter=(0.0, 0.25, 0.04), wheel=1.1, spokes=3, spoke_width=0.6,
         creases=((0.35, 0.35),)),
    Make("Wexcombe", lamps=(((0.66, 0.45), (1.0, 0.45), (1.1, 0.9), (0.75, 0.95)),),
         grille=((0.25, 0.96), (0.45, 0.85), (0.45, 0.4), (0.25, 0.34)), bars=(3, 3), nose=0.05, rake=0.14,
         cab=-0.06, roof=1.0, belt=0.03, quarter=(0.15, 0.4, 0.12), wheel=0.95, spokes=4, spoke_width=0.5,
         creases=((0.55, 0.75),)),
)  # fmt: skip


def lineup(makes: tuple[Make, ...], names: str) -> tuple[CarModel, ...]:
    """The models in a table with lines 'Make Model Type Year', sorted by name."""
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
    Kestrin Alouette Coupe 2012
    Kestrin Moor SUV 2011
    Solvane Aria Sedan 2012
    Solvane Brisa Coupe 2011
    Solvane Terra SUV 2009
    Velora Linea Sedan 2012
    Velora Freccia Coupe 2010
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
    Dunmarrow Stark Coupe 2011
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


def source(seed: int, train: int, test: int) -> Source:
    """The demo data set: `train` + `test` pictures of each of the TARGET classes."""
    classes = [model.name for model in TARGET]
    return Source(classes, len(classes) * (train + test), photographs(TARGET, seed, train, test), left_out=[])


def photographs(models: Iterable[CarModel], seed: int, train: int, test: int) -> Iterator[Photograph]:
    """`train` + `test` JPEG pictures of each model, in order of name.

    A picture depends only on seed, class, split and number: more classes or pictures change no other.
    """
    models = sorted(models, key=lambda model: model.name)
    for split, count in (("test", test), ("train", train)):
        for model in models:
            for number in range(1, count + 1):
                picture = draw(model, generator(seed, "photograph", split, model.name, number))
                name = f"{split}/{model.name}/{number:04}.jpg"
                yield Photograph(name, model.name, split, encode(picture, QUALITY))
