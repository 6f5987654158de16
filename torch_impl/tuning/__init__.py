"""Tuning: search spaces, searches from a grid to Bayesian optimization, folds, records."""

from torch_impl.tuning.acquisition import expected_improvement
from torch_impl.tuning.bayesian import bayesian_search, propose
from torch_impl.tuning.cross_validation import cross_validate, k_fold, stratified_k_fold
from torch_impl.tuning.gaussian_process import GaussianProcess, Posterior
from torch_impl.tuning.halving import hyperband, successive_halving
from torch_impl.tuning.kernels import RBF, Matern52
from torch_impl.tuning.lbfgs import minimize
from torch_impl.tuning.parameters import Choice, Integer, LogUniform, Uniform
from torch_impl.tuning.search import grid_search, random_search
from torch_impl.tuning.space import Conditional, SearchSpace
from torch_impl.tuning.study import Study, Trial
from torch_impl.tuning.trials import run_trial, workers

__all__ = [
    "Choice",
    "Conditional",
    "GaussianProcess",
    "Integer",
    "LogUniform",
    "Matern52",
    "Posterior",
    "RBF",
    "SearchSpace",
    "Study",
    "Trial",
    "Uniform",
    "bayesian_search",
    "cross_validate",
    "expected_improvement",
    "grid_search",
    "hyperband",
    "k_fold",
    "minimize",
    "propose",
    "random_search",
    "run_trial",
    "stratified_k_fold",
    "successive_halving",
    "workers",
]
