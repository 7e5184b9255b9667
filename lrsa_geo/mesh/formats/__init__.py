"""File formats: one file for each, with its check and its reader, and one line here."""

from __future__ import annotations

from lrsa_geo.mesh.formats import (
    abaqus,
    exodus,
    foam,
    frd,
    hdf5,
    lists,
    med,
    msh,
    nastran,
    pieces,
    ply,
    point_clouds,
    su2,
    surfaces,
    vtk_legacy,
    vtk_xml,
    xdmf,
)
from lrsa_geo.mesh.formats.base import Format, RawMesh, check_file
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

__all__ = ["NOT_READ", "READERS", "Format", "RawMesh", "check_file"]

READERS: dict[str, Format] = {
    **dict.fromkeys((".vtu", ".vtp"), Format(vtk_xml.read)),
    ".vtk": Format(vtk_legacy.read, vtk_legacy.check),
    **dict.fromkeys((".xdmf", ".xmf"), Format(xdmf.read, xdmf.check, read_steps=xdmf.read_steps)),
    ".msh": Format(msh.read, msh.check),
    ".unv": Format(msh.read_unv),
    ".mesh": Format(msh.read),
    ".inp": Format(abaqus.read),
    ".frd": Format(frd.read, read_steps=frd.read_steps),
    ".su2": Format(su2.read),
    **dict.fromkeys((".bdf", ".fem", ".nas"), Format(nastran.read)),
    **dict.fromkeys((".med", ".rmed"), Format(med.read, med.check)),
    **dict.fromkeys(exodus.SUFFIXES, Format(exodus.read, exodus.check)),
    ".cgns": Format(hdf5.read_cgns, hdf5.check_cgns),
    ".stl": Format(surfaces.read_stl),
    ".ply": Format(ply.read, ply.check),
    **dict.fromkeys((".obj", ".off"), Format(surfaces.read)),
    **dict.fromkeys((".glb", ".gltf"), Format(surfaces.read, surfaces.check_gltf)),
    ".3mf": Format(surfaces.read, point_clouds.check_zip),
    ".case": Format(read_with_vtk),
    **dict.fromkeys((".pvtu", ".pvtp"), Format(pieces.read)),
    **dict.fromkeys((".pvti", ".pvtr", ".pvts"), Format(read_with_vtk)),
    **dict.fromkeys((".vti", ".vtr", ".vts", ".vtm", ".vtkhdf"), Format(read_with_vtk)),
    ".foam": Format(read_with_vtk, foam.check, may_be_empty=True),
    ".npz": Format(point_clouds.read_npz, point_clouds.check_zip),
    ".csv": Format(point_clouds.read_csv),
    ".xyz": Format(point_clouds.read_xyz),
}
READERS |= dict.fromkeys(lists.SUFFIXES, Format(lists.reader(READERS)))

# What users have instead, and what to do about it.
_CAD = "describes a geometry without a mesh; mesh it (Gmsh, Salome) and give the mesh"
_TECPLOT = "is of Tecplot; open it in ParaView or Tecplot and save as VTU or CGNS"
_FLUENT = "is of Fluent; export EnSight or CGNS there, or open it in ParaView and save as VTU"
_ANSYS = "is a result of ANSYS; save it as VTU with the package ansys-mapdl-reader, or export CGNS"
_HDF5 = (
    "holds arrays without saying what they are; give the .xdmf beside it, or rename it to .vtkhdf"
    " or .cgns if it is one"
)
_DYNA = "is of LS-DYNA; open it in ParaView (LSDynaReader) and save as VTU"
NOT_READ: dict[str, str] = {
    **dict.fromkeys((".step", ".stp", ".iges", ".igs", ".brep", ".fcstd"), _CAD),
    **dict.fromkeys((".plt", ".szplt", ".tec"), _TECPLOT),
    ".cas": _FLUENT,
    ".dat": "may be of many programs; rename a deck of Nastran to .bdf, one of Abaqus to .inp, and"
    " save what is of Fluent or Tecplot as VTU or CGNS",
    ".geo": "is a script of Gmsh, or part of an EnSight case; mesh it, or give the .case",
    **dict.fromkeys((".rst", ".rth", ".cdb"), _ANSYS),
    **dict.fromkeys((".d3plot", ".k", ".key"), _DYNA),
    ".odb": "is a result of Abaqus; export its fields there (abaqus python, odb2vtk) as VTU",
    ".op2": "is a result of Nastran; save it as VTU with the package pyNastran",
    ".h3d": "is of HyperView; export its results there, such as to EnSight",
    **dict.fromkeys((".h5", ".hdf", ".hdf5"), _HDF5),
    ".mat": "is of MATLAB; save pos [N, D] and the fields there and convert them to .npz",
    ".npy": "is one array; put pos [N, D] and the fields into an .npz",
    ".dae": "is a scene; save the surface as .ply, .obj or .glb",
}
"""Extensions that are known but not read -> what they are and what to do."""
