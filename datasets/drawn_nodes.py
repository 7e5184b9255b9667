"""How far drawn nodes are from the whole mesh: a trained model's predictions from either.

    python datasets/drawn_nodes.py runs/elasticity [--nodes 64 128 256 512] [--graphs 20]

Of test graphs of a finished run so many nodes are drawn, evenly over the mesh (stratified) or
regardless of where they are, and the model predicts at these from these alone. Prints the relative
L2 distance, in each field, to what it predicts there from the whole mesh: what the drawing adds to
a training step is noise of this size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data import open_store
from lrsa_geo.mesh import RandomNodes
from lrsa_geo.train import Surrogate, errors_of_one, load_config, load_surrogate, predict


def distance(surrogate: Surrogate, graph: Data, whole: Tensor, draw: RandomNodes) -> Tensor:
    """Of one draw, ``[fields]``."""
    data = graph.clone()
    data.y = whole  # goes along with the drawn nodes
    part = draw(data)
    return errors_of_one(surrogate, predict(surrogate, part), part.y)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--nodes", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--graphs", type=int, default=20, help="test graphs of the run")
    given = parser.parse_args()
    config, surrogate = load_config(given.run / "config.yaml"), load_surrogate(given.run)
    if surrogate.config.needs_edges:
        raise SystemExit(f"{given.run}: the model passes messages, which drawn nodes do not")
    store = open_store(config.data.path)
    numbers = json.loads((given.run / "metrics.json").read_text())["test_graphs"][: given.graphs]
    graphs = [store[number] for number in numbers]
    smallest = min(len(graph.pos) for graph in graphs)
    if max(given.nodes) >= smallest:
        raise SystemExit(f"--nodes has {max(given.nodes)}, and a graph {smallest} nodes")
    wholes = [predict(surrogate, graph) for graph in graphs]
    names = [field.name for field in surrogate.signature.fields["y"]]
    print(f"| nodes | drawn | {' | '.join(names)} |\n" + "|---" * (2 + len(names)) + "|")
    for nodes in given.nodes:
        for how, stratified in (("evenly", True), ("regardless of where they are", False)):
            draw = RandomNodes(nodes, torch.Generator().manual_seed(0), stratified)
            pairs = zip(graphs, wholes, strict=True)
            mean = torch.stack([distance(surrogate, g, w, draw) for g, w in pairs]).mean(0)
            print(f"| {nodes} | {how} | {' | '.join(f'{value:.4f}' for value in mean)} |")


if __name__ == "__main__":
    main()
