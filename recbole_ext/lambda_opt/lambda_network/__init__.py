"""The regularisation strengths λ, at any granularity."""

from recbole_ext.lambda_opt.lambda_network.network import FEW, GRANULARITIES, LambdaNetwork

__all__ = ["FEW", "GRANULARITIES", "LambdaNetwork"]
