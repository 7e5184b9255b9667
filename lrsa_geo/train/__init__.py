"""Training, testing and predicting: Lightning's loop around a surrogate."""

from lrsa_geo.data import SeriesConfig, SplitConfig
from lrsa_geo.train.assembly import Assembly, assemble, matched
from lrsa_geo.train.compiled import compiled, compiles
from lrsa_geo.train.config import (
    DataConfig,
    OptimConfig,
    TrainConfig,
    TrainerConfig,
    add_config_arguments,
    check_config,
    config_from,
    find_config,
    load_config,
    parse_config,
    save_config,
)
from lrsa_geo.train.config_file import read_yaml
from lrsa_geo.train.datamodule import StoreDataModule, prepare_store, training_graphs
from lrsa_geo.train.evaluate import evaluate
from lrsa_geo.train.fit import train
from lrsa_geo.train.losses import LOSSES, Comparison, Loss
from lrsa_geo.train.module import NonFiniteLossError, SurrogateModule
from lrsa_geo.train.muon import Muon
from lrsa_geo.train.objective import Objective, ObjectiveConfig, relative_l2
from lrsa_geo.train.predict import (
    Prediction,
    errors_of_one,
    graph_for,
    load_surrogate,
    predict,
    predict_files,
    predict_graph,
)
from lrsa_geo.train.predict_series import predict_series, predict_series_graph
from lrsa_geo.train.processes import followed_folder
from lrsa_geo.train.records import write_json
from lrsa_geo.train.results import result_fields
from lrsa_geo.train.rollout import rollout, rollout_of_series, rollout_of_several
from lrsa_geo.train.run import Interrupted, Run
from lrsa_geo.train.series import SeriesDataModule, SeriesModule
from lrsa_geo.train.signature import Signature
from lrsa_geo.train.surrogate import ModelConfig, Surrogate, layout_of

__all__ = [
    "LOSSES",
    "Assembly",
    "Comparison",
    "DataConfig",
    "Interrupted",
    "Loss",
    "ModelConfig",
    "Muon",
    "NonFiniteLossError",
    "Objective",
    "ObjectiveConfig",
    "OptimConfig",
    "Prediction",
    "Run",
    "SeriesConfig",
    "SeriesDataModule",
    "SeriesModule",
    "Signature",
    "SplitConfig",
    "StoreDataModule",
    "Surrogate",
    "SurrogateModule",
    "TrainConfig",
    "TrainerConfig",
    "add_config_arguments",
    "assemble",
    "check_config",
    "compiled",
    "compiles",
    "config_from",
    "errors_of_one",
    "evaluate",
    "find_config",
    "followed_folder",
    "graph_for",
    "layout_of",
    "load_config",
    "load_surrogate",
    "matched",
    "parse_config",
    "predict",
    "predict_files",
    "predict_graph",
    "predict_series",
    "predict_series_graph",
    "prepare_store",
    "read_yaml",
    "relative_l2",
    "result_fields",
    "rollout",
    "rollout_of_series",
    "rollout_of_several",
    "save_config",
    "train",
    "training_graphs",
    "write_json",
]
