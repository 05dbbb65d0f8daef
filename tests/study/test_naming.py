import pytest

from carcls.study.naming import CarName, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Audi S4 Sedan 2007", CarName("Audi", "S4 Sedan", "Sedan", "2007")),
        ("AM General Hummer SUV 2000", CarName("AM General", "Hummer SUV", "SUV", "2000")),
        (
            "Aston Martin V8 Vantage Coupe 2012",
            CarName("Aston Martin", "V8 Vantage Coupe", "Coupe", "2012"),
        ),
        ("Land Rover LR2 SUV 2012", CarName("Land Rover", "LR2 SUV", "SUV", "2012")),
        ("Infiniti G Coupe IPL 2012", CarName("Infiniti", "G Coupe IPL", "Coupe", "2012")),
        ("Ram C-V Cargo Van Minivan 2012", CarName("Ram", "C-V Cargo Van Minivan", "Minivan", "2012")),
        ("Ford Ranger SuperCab 2011", CarName("Ford", "Ranger SuperCab", "Pickup", "2011")),
        ("Bugatti Veyron 16.4 Coupe 2009", CarName("Bugatti", "Veyron 16.4 Coupe", "Coupe", "2009")),
        ("Jaguar XK XKR 2012", CarName("Jaguar", "XK XKR", None, "2012")),
        ("Audi 2012", None),
        ("Audi S4 Sedan", None),
        ("cat", None),
        ("Audi 100 Wagon 100", None),
    ],
)
def test_class_name_is_parsed(name, expected):
    assert parse(name) == expected
