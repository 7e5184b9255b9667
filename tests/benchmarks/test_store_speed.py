"""Random reads of a MeshStore against the same bytes copied out of a plain binary file.

    pytest tests/benchmarks/test_store_speed.py --benchmark-only -s

1,000 meshes of 5,000 nodes and about 10,000 triangles, every mesh once in a random order. The plain
file is read into numpy arrays in the two ways that numpy has, and, as a store does, into tensors in
a PyG Data, which costs as much as copying 150 kB by itself. All sides take turns, in one thread,
with the files in the page cache: what is compared is the work per byte, not the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field

GRAPHS, SIDE = 1000, 50
NODES = 2 * SIDE**2
FIELDS = {
    "x": (Field("normal", "1", ("x", "y", "z")),),
    "y": (Field("pressure", "Pa"), Field("velocity", "m/s", ("x", "y"))),
}
COMPRESSIONS = (None, "lzf", "gzip")


def mesh(seed: int) -> Data:
    """A triangulated grid with moved nodes and smooth fields, which compress as real ones do."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(2 * SIDE), indexing="ij")
    corner = (rows * 2 * SIDE + columns)[:-1, :-1].reshape(-1, 1)
    right, up = 1, 2 * SIDE
    lower = corner + torch.tensor([0, right, up + right])
    upper = corner + torch.tensor([0, up + right, up])
    grid = torch.stack([rows.flatten(), columns.flatten()], 1) / SIDE
    pos = grid + torch.rand(NODES, 2, generator=generator) / (4 * SIDE)
    waves = pos @ torch.randn(2, 6, generator=generator) * 5
    cells = torch.cat([lower, upper]).int()
    return Data(
        pos=pos,
        x=waves[:, :3].sin(),
        y=waves[:, 3:].cos(),
        measure=torch.rand(NODES, generator=generator) / NODES,
        boundary=((rows == 0) | (columns == 0)).flatten().to(torch.int8),
        cells=cells,
        cell_types=torch.full((len(cells),), 5, dtype=torch.int8),
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str | None, MeshStore]:
    folder = tmp_path_factory.mktemp("stores")
    made = MeshStore.write(folder / "made.h5", map(mesh, range(GRAPHS)), FIELDS)
    written = {}
    for compression in COMPRESSIONS:
        path = folder / f"{compression}.h5"
        started = time.perf_counter()
        written[compression] = MeshStore.write(path, made, FIELDS, compression=compression)
        print(f"\nwritten with {compression}: {time.perf_counter() - started:.1f} s", end="")
    return written


class PlainFile:
    """The arrays of a store behind each other in a file without any structure."""

    def __init__(self, path: Path, store: MeshStore) -> None:
        self.arrays = store.arrays
        self.places: list[tuple[int, np.dtype, tuple[int, ...]]] = []
        self.mapped: list[np.ndarray] = []
        with open(path, "wb") as file:
            for array in store.arrays:
                values = store.read(array)
                shape = (len(values) // len(store), *values.shape[1:])
                self.places.append((file.tell(), values.dtype, shape))
                values.tofile(file)
        for offset, dtype, shape in self.places:
            whole = (shape[0] * len(store), *shape[1:])
            # A plain array over the mapped memory: slices of np.memmap itself are slower.
            self.mapped.append(np.asarray(np.memmap(path, dtype, "r", offset, whole)))
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115

    def copy_of_map(self, i: int) -> list[np.ndarray]:
        return [
            rows[i * shape[0] : (i + 1) * shape[0]].copy()
            for rows, (_, _, shape) in zip(self.mapped, self.places, strict=True)
        ]

    def data(self, i: int) -> Data:
        tensors = map(torch.from_numpy, self.copy_of_map(i))
        return Data(**dict(zip(self.arrays, tensors, strict=True)), num_nodes=NODES)

    def from_file(self, i: int) -> list[np.ndarray]:
        found = []
        for offset, dtype, shape in self.places:
            count = int(np.prod(shape))
            self.file.seek(offset + i * count * dtype.itemsize)
            found.append(np.fromfile(self.file, dtype, count).reshape(shape))
        return found


def seconds_of(sides: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds for all graphs in random orders, the sides taking turns; the first is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        order = np.random.default_rng(round_number).permutation(GRAPHS).tolist()
        for name, read in sides.items():
            started = time.perf_counter()
            for i in order:
                read(i)
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def test_random_reads_over_a_plain_file(benchmark, stores, tmp_path):
    store = stores[None]
    plain = PlainFile(tmp_path / "plain", store)
    first = store[3]
    arrays = store.arrays
    for found in (plain.copy_of_map(3), plain.from_file(3)):
        assert all(
            np.array_equal(first[a].numpy(), rows) for a, rows in zip(arrays, found, strict=True)
        )
    size = sum(first[array].nbytes for array in arrays) * GRAPHS
    seconds = seconds_of(
        {
            "np.memmap, copied": plain.copy_of_map,
            "np.fromfile": plain.from_file,
            "np.memmap to Data": plain.data,
            "MeshStore": store.__getitem__,
        },
        9,
    )
    print(
        f"\n{GRAPHS} meshes of {size / GRAPHS / 1e3:.0f} kB; share of its rate that MeshStore has:"
    )
    for name, times in seconds.items():
        share = [a / b for a, b in zip(times, seconds["MeshStore"], strict=True)]
        print(
            f"  {name:18s} {size / median(times) / 1e9:5.2f} GB/s"
            f"  {median(times) / GRAPHS * 1e6:6.1f} us a mesh"
            f"  {median(share):.2f} ({min(share):.2f} to {max(share):.2f})"
        )
        benchmark.extra_info[f"rate over {name}"] = median(share)
    benchmark.pedantic(lambda: [store[i] for i in range(100)], rounds=3)


def test_what_compression_costs(benchmark, stores):
    sides = {str(name): store.__getitem__ for name, store in stores.items()}
    seconds = seconds_of(sides, 3)
    print("\ncompression: size and random reads")
    for name, store in stores.items():
        took = median(seconds[str(name)])
        print(
            f"  {name!s:6s} {store.path.stat().st_size / 1e6:6.1f} MB"
            f"  {took / GRAPHS * 1e6:8.1f} us a mesh"
        )
    assert len({store.sha256 for store in stores.values()}) == 1
    benchmark.pedantic(lambda: [stores["lzf"][i] for i in range(100)], rounds=3)
