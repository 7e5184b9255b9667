"""File formats: one file for each, with its check and its reader, and one line here."""

from __future__ import annotations

from lrsa_geo.mesh.formats import (
    abaqus,
    exodus,
    hdf5,
    msh,
    nastran,
    ply,
    point_clouds,
    surfaces,
    vtk_legacy,
    vtk_xml,
    xdmf,
)
from lrsa_geo.mesh.formats.base import Format, RawMesh, check_file
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

__all__ = ["READERS", "Format", "RawMesh", "check_file"]

READERS: dict[str, Format] = {
    **dict.fromkeys((".vtu", ".vtp"), Format(vtk_xml.read)),
    ".vtk": Format(vtk_legacy.read, vtk_legacy.check),
    **dict.fromkeys((".xdmf", ".xmf"), Format(xdmf.read, xdmf.check)),
    ".msh": Format(msh.read, msh.check),
    **dict.fromkeys((".unv", ".mesh"), Format(msh.read)),
    ".inp": Format(abaqus.read),
    **dict.fromkeys((".bdf", ".fem", ".nas"), Format(nastran.read)),
    ".med": Format(hdf5.read_med, hdf5.check_hdf5),
    **dict.fromkeys(exodus.SUFFIXES, Format(exodus.read, exodus.check)),
    ".cgns": Format(hdf5.read_cgns, hdf5.check_cgns),
    ".stl": Format(surfaces.read_stl),
    ".ply": Format(ply.read, ply.check),
    **dict.fromkeys((".obj", ".off"), Format(surfaces.read)),
    **dict.fromkeys((".glb", ".gltf"), Format(surfaces.read, surfaces.check_gltf)),
    ".3mf": Format(surfaces.read, point_clouds.check_zip),
    ".case": Format(read_with_vtk),
    **dict.fromkeys((".pvd", ".pvtu", ".pvtp", ".vtm", ".vtkhdf"), Format(read_with_vtk)),
    **dict.fromkeys((".vti", ".vtr", ".vts"), Format(read_with_vtk)),
    ".foam": Format(read_with_vtk, may_be_empty=True),
    ".npz": Format(point_clouds.read_npz, point_clouds.check_zip),
    ".csv": Format(point_clouds.read_csv),
    ".xyz": Format(point_clouds.read_xyz),
}
