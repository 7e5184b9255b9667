"""Units: numbers that change with the unit and lengths that do not.

Kinds of fault: another unit of one dimension taken as it is (bar for Pa); an offset forgotten
(degC for K); units of unlike dimension, unknown or unnamed ones that are converted all the same.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrsa_geo.data import conversion
from lrsa_geo.data.units import UnitError

ALIKE = [
    ["m", "mm", "um", "µm", "cm", "km", "in", "ft"],
    ["Pa", "kPa", "MPa", "GPa", "bar", "mbar", "psi", "ksi", "atm", "N/mm^2", "N/mm²", "kg/m/s^2"],
    ["K", "degC", "°C", "degF"],
    ["m/s", "mm/s", "km/h", "m s-1", "m*s^-1", "m·s⁻¹", "ft/min"],
    ["rad", "deg", "°", "mrad"],
    ["kg/m^3", "g/cm^3", "t/m³", "kg m**-3"],
    ["1/s", "Hz", "s^-1"],
]


@pytest.mark.parametrize(
    ("unit", "to", "value", "expected"),
    [
        ("mm", "m", 1500, 1.5),
        ("in", "mm", 1, 25.4),
        ("ft", "in", 1, 12),
        ("bar", "Pa", 2, 2e5),
        ("MPa", "N/mm²", 7, 7),
        ("psi", "kPa", 1, 6.894757293168361),
        ("degC", "K", -273.15, 0),
        ("K", "degC", 300, 26.85),
        ("degF", "degC", 212, 100),
        ("km/h", "m/s", 36, 10),
        ("deg", "rad", 180, math.pi),
        ("g/cm^3", "kg/m^3", 1, 1000),
        ("kJ", "W h", 3.6, 1),
        ("rpm", "rad/s", 60, 2 * math.pi),
        ("%", "%", 3, 3),
        ("mPa s", "Pa s", 1, 1e-3),
    ],
)
def test_known_values(unit, to, value, expected):
    found = conversion(unit, to)
    assert value * found.factor + found.offset == pytest.approx(expected, rel=1e-12, abs=1e-9)


@given(st.sampled_from(ALIKE), st.data(), st.floats(-1e3, 1e3))
def test_there_and_back_by_any_way(alike, data, value):
    a, b, c = (data.draw(st.sampled_from(alike)) for _ in range(3))
    steps = [conversion(a, b), conversion(b, c), conversion(c, a)]
    there = value
    for step in steps:
        there = there * step.factor + step.offset
    assert there == pytest.approx(value, rel=1e-9, abs=1e-6)


@given(st.permutations(ALIKE).flatmap(lambda p: st.tuples(*map(st.sampled_from, p[:2]))))
def test_unlike_dimensions_are_refused(pair):
    with pytest.raises(UnitError):
        conversion(*pair)


@pytest.mark.parametrize(
    ("unit", "to", "why"),
    [
        ("furlong", "m", "'furlong' is not known"),
        ("1", "Pa", "1 may mean that none was named"),
        ("%", "1", "1 may mean that none was named"),
        ("", "m", "empty"),
        ("m/", "m", "not known"),
        ("N m/rad", "N m", "different things"),
        ("degC/m", "K/m", "not known"),
        ("100 Pa", "Pa", "'100 Pa' is not known"),
        ("10^3 kg", "kg", "not known"),
        ("1.5 m", "m", "not known"),
    ],
)
def test_what_is_refused(unit, to, why):
    with pytest.raises(UnitError, match=why):
        conversion(unit, to)


def test_what_is_spelled_alike_need_not_be_known():
    assert conversion("furlong", "furlong").factor == 1
