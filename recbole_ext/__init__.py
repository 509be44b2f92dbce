"""recbole_ext: models that learn how to learn, as a plugin for RecBole.

Importing this package registers its models with RecBole. RecBole's own functions then accept them:
``recbole.quick_start.run_recbole(model="LambdaOptMF", dataset="ml-100k")``, for example.
"""

from importlib.util import find_spec

if find_spec("recbole") is None:  # it is no requirement, as its pins would hold other packages back
    raise ImportError("recbole_ext needs RecBole: pip install --no-deps recbole==1.2.1")

from recbole_ext.lambda_opt.lambdaoptmf import LambdaOptMF
from recbole_ext.lambda_opt.settings import check_extended
from recbole_ext.lambda_opt.trainer import BilevelTrainer
from recbole_ext.meta.mamo import MAMO
from recbole_ext.meta.melu import MeLU
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.trainer import MetaTrainer
from recbole_ext.quick_start import load_data_and_model, objective_function, run, run_recbole
from recbole_ext.resnetmf.resnetmf import ResNetMF
from recbole_ext.seams.checked_dataset import CheckedDataset
from recbole_ext.seams.install import install
from recbole_ext.seams.rating_dataset import RatingDataset
from recbole_ext.seams.registry import (
    Extension,
    known_models,
    register_extension,
    register_model,
)

__version__ = "0.1.0"

__all__ = [
    "MAMO",
    "BilevelTrainer",
    "CheckedDataset",
    "ColdStartDataset",
    "LambdaOptMF",
    "MeLU",
    "MetaTrainer",
    "RatingDataset",
    "ResNetMF",
    "known_models",
    "load_data_and_model",
    "objective_function",
    "register_model",
    "run",
    "run_recbole",
]

install()
register_model(LambdaOptMF, trainer=BilevelTrainer, dataset=CheckedDataset)
register_model(MeLU, trainer=MetaTrainer, dataset=ColdStartDataset)
register_model(MAMO, trainer=MetaTrainer, dataset=ColdStartDataset)
register_model(ResNetMF, dataset=RatingDataset)
register_extension(
    "regularizer",
    Extension(
        trainer=BilevelTrainer,
        properties=("LambdaOptMF", "LambdaOptMF-bpr"),
        check=check_extended,
        overrides={"reg_weight": 0.0, "loss": "bpr"},
    ),
)
