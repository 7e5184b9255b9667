"""Units of fields: whether two of them measure the same, and how to get from one to the other."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

NO_UNIT = "1"

_PREFIXES = {
    "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "h": 1e2, "d": 1e-1, "c": 1e-2, "m": 1e-3,
    "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12,
}  # fmt: skip
# What takes a prefix: size in SI units, and the powers of these.
_SI: dict[str, tuple[float, dict[str, int]]] = {
    "m": (1, {"m": 1}),
    "g": (1e-3, {"kg": 1}),
    "s": (1, {"s": 1}),
    "K": (1, {"K": 1}),
    "A": (1, {"A": 1}),
    "mol": (1, {"mol": 1}),
    "rad": (1, {"rad": 1}),
    "Hz": (1, {"s": -1}),
    "N": (1, {"kg": 1, "m": 1, "s": -2}),
    "Pa": (1, {"kg": 1, "m": -1, "s": -2}),
    "J": (1, {"kg": 1, "m": 2, "s": -2}),
    "W": (1, {"kg": 1, "m": 2, "s": -3}),
    "V": (1, {"kg": 1, "m": 2, "s": -3, "A": -1}),
    "bar": (1e5, {"kg": 1, "m": -1, "s": -2}),
}
_OTHERS: dict[str, tuple[float, dict[str, int]]] = {
    NO_UNIT: (1, {}),
    "%": (1e-2, {}),
    "in": (0.0254, {"m": 1}),
    "ft": (0.3048, {"m": 1}),
    "t": (1e3, {"kg": 1}),
    "lb": (0.45359237, {"kg": 1}),
    "lbf": (4.4482216152605, {"kg": 1, "m": 1, "s": -2}),
    "min": (60, {"s": 1}),
    "h": (3600, {"s": 1}),
    "deg": (math.pi / 180, {"rad": 1}),
    "°": (math.pi / 180, {"rad": 1}),
    "rpm": (2 * math.pi / 60, {"rad": 1, "s": -1}),
    "atm": (101325, {"kg": 1, "m": -1, "s": -2}),
    "psi": (6894.757293168361, {"kg": 1, "m": -1, "s": -2}),
    "ksi": (6894757.293168361, {"kg": 1, "m": -1, "s": -2}),
}
# Temperatures that do not begin at absolute zero: size of a degree, and where 0 is, in kelvin.
_SCALES = {
    "K": (1.0, 0.0),
    "degC": (1.0, 273.15),
    "°C": (1.0, 273.15),
    "degF": (5 / 9, 459.67 * 5 / 9),
    "°F": (5 / 9, 459.67 * 5 / 9),
}
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_FACTOR = re.compile(r"\s*([*/]?)\s*(?:([A-Za-zµμ°%]+)(?:\^?(-?\d+))?|(1)(?![\d.^]))")


class UnitError(ValueError):
    """Two units do not measure the same, or one of them is not known."""


@dataclass(frozen=True)
class Conversion:
    """From one unit to another: ``value * factor + offset``."""

    factor: float = 1.0
    offset: float = 0.0


def conversion(unit: str, to: str) -> Conversion:
    """How a number in one unit becomes one in another.

    Known are the units of the SI with their prefixes, in, ft, t, lb, lbf, min, h, deg, rpm, bar,
    atm, psi, ksi, %, and products, quotients and powers of these, such as ``"kg/m^3"`` or
    ``"m s-1"``; degC and degF on their own, as points of their scales and not as differences. Units
    that are spelled alike need not be known.

    Raises:
        UnitError: they measure different things, or one is not known.

    Examples:
        >>> conversion("MPa", "Pa")
        Conversion(factor=1000000.0, offset=0.0)
        >>> conversion("degC", "K")
        Conversion(factor=1.0, offset=273.15)
    """
    if unit.strip() == to.strip():
        return Conversion()
    if unit in _SCALES and to in _SCALES:
        (degree, zero), (degree_to, zero_to) = _SCALES[unit], _SCALES[to]
        return Conversion(degree / degree_to, (zero - zero_to) / degree_to)
    if (unit == NO_UNIT) != (to == NO_UNIT):  # 1 also stands for a unit that nobody named
        raise UnitError(f"'{unit}' and '{to}' are not the same, and 1 may mean that none was named")
    (size, powers), (size_to, powers_to) = _parsed(unit), _parsed(to)
    if powers != powers_to:
        raise UnitError(f"'{unit}' and '{to}' measure different things")
    return Conversion(_rounded(size / size_to))


def _parsed(unit: str) -> tuple[float, dict[str, int]]:
    """Size in SI units, and powers of the base units that are not 0."""
    text = re.sub(r"([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "^" + m[1].translate(_SUPERSCRIPTS), unit)
    text = text.replace("**", "^").replace("·", "*").replace("⋅", "*").strip()
    size, powers, position = 1.0, Counter[str](), 0
    while position < len(text):
        factor = _FACTOR.match(text, position)
        if factor is None:
            raise UnitError(f"the unit '{unit}' is not known")
        sign = -1 if factor[1] == "/" else 1
        power = sign * int(factor[3] or 1)
        of_symbol, powers_of_symbol = _symbol(factor[2] or factor[4], unit)
        size *= of_symbol**power
        for base, exponent in powers_of_symbol.items():
            powers[base] += power * exponent
        position = factor.end()
    if not text:
        raise UnitError("a unit is empty")
    return size, {base: power for base, power in powers.items() if power}


def _symbol(symbol: str, unit: str) -> tuple[float, dict[str, int]]:
    for known in (_OTHERS, _SI):
        if symbol in known:
            return known[symbol]
    if symbol[0] in _PREFIXES and symbol[1:] in _SI:
        size, powers = _SI[symbol[1:]]
        return _PREFIXES[symbol[0]] * size, powers
    raise UnitError(f"the unit '{unit}' is not known")


def _rounded(factor: float) -> float:
    """Without the last digit, which products of powers of ten lose."""
    return float(f"{factor:.14g}")
