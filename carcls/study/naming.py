"""Parse make, model, body type and year from class names such as "Aston Martin Virage Coupe 2012"."""

import re
from dataclasses import dataclass

# Stanford Cars does not separate make and model, so makes of two words are listed
NAME = re.compile(
    r"(?P<make>Alfa Romeo|AM General|Aston Martin|Land Rover|\S+) (?P<model>.+) (?P<year>(?:19|20)\d\d)",
    re.IGNORECASE,
)
TYPES = {
    "cab": "Pickup",  # Crew Cab, Club Cab, Extended Cab, ...
    "supercab": "Pickup",
    "convertible": "Convertible",
    "coupe": "Coupe",
    "hatchback": "Hatchback",
    "minivan": "Minivan",
    "sedan": "Sedan",
    "suv": "SUV",
    "van": "Van",
    "wagon": "Wagon",
}


@dataclass(frozen=True)
class CarName:
    """The parts of a class name. `model` includes the words of the type. `type` is None if there is none."""

    make: str
    model: str
    type: str | None
    year: str


def parse(name: str) -> CarName | None:
    """The parts of a name "Make Model Type Year", or None if the name is not two or more words and a year.

    The last word that is a type counts: a "Phantom Drophead Coupe Convertible" is a convertible.
    """
    match = NAME.fullmatch(name)
    if match is None:
        return None
    types = [TYPES[word] for word in match["model"].lower().split() if word in TYPES]
    return CarName(match["make"], match["model"], types[-1] if types else None, match["year"])
