"""The regularisation strengths λ, at any granularity."""

from recbole_ext.lambda_opt.lambda_network.network import FEW, GRANULARITIES, LambdaNetwork
from recbole_ext.lambda_opt.lambda_network.power_law import PowerLaw

POWER_LAW = "power-law"
Strengths = LambdaNetwork | PowerLaw

__all__ = ["FEW", "GRANULARITIES", "POWER_LAW", "LambdaNetwork", "PowerLaw", "Strengths"]
