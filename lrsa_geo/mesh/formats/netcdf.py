"""The header of classic netCDF, whose library believes every count and loops for minutes.

https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
"""

from __future__ import annotations

import struct
from mmap import mmap
from pathlib import Path

from lrsa_geo.mesh.formats.base import check_counts, mapped

_SIZE_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def check_header(path: Path) -> None:
    """Refuse a classic netCDF file whose header promises more than the file has."""
    with mapped(path) as text:
        if text[:3] == b"CDF" and len(text) > 8:
            _Header(path, text).walk()


class _Header:
    def __init__(self, path: Path, text: mmap) -> None:
        self.path = path
        self.text = text
        version = text[3]
        self.count = ">q" if version == 5 else ">i"
        self.offset = 4 if version == 1 else 8
        self.place = 4

    def number(self, what: str) -> int:
        (value,) = struct.unpack_from(self.count, self.text, self.place)
        self.place += struct.calcsize(self.count)
        check_counts(self.path, [(what, max(value, -value - 1))])
        return int(value)

    def skip(self, size: int) -> None:
        self.place += -(-size // 4) * 4
        check_counts(self.path, [("bytes of header", self.place)])

    def attributes(self) -> None:
        self.place += 4
        for _ in range(self.number("attributes")):
            self.skip(self.number("letters of a name"))
            (kind,) = struct.unpack_from(">i", self.text, self.place)
            self.place += 4
            self.skip(self.number("values of an attribute") * _SIZE_OF_TYPE.get(kind, 1))

    def walk(self) -> None:
        self.number("records")
        self.place += 4
        for _ in range(self.number("dimensions")):
            self.skip(self.number("letters of a name"))
            self.number("as a dimension")
        self.attributes()
        self.place += 4
        for _ in range(self.number("variables")):
            self.skip(self.number("letters of a name"))
            for _ in range(self.number("dimensions of a variable")):
                self.number("as number of a dimension")
            self.attributes()
            self.place += 4
            self.place += struct.calcsize(self.count) + self.offset
