"""The state of a trainer whose tables are spread over processes, as that of one process.

A module with such tables names their owners in an attribute ``row_owners``, by the names in its
``state_dict``. An optimiser's moments are spread as the parameters that they belong to.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_ext.processes.row_table import RowOwner

State = dict[str, Any]
Owners = dict[Tensor, RowOwner]


def is_spread(model: nn.Module) -> bool:
    """Whether other processes hold other rows of a model's tables."""
    return bool(_owners(model))


def owners_by_parameter(modules: list[nn.Module]) -> Owners:
    """The owner of each parameter whose rows are spread."""
    return {
        parameter: _owners(module)[name]
        for module in modules
        for name, parameter in module.named_parameters()
        if name in _owners(module)
    }


def whole_module(module: nn.Module) -> State:
    """A module's ``state_dict`` with whole tables, in the first process.

    All processes call it. In the others the spread tables are ``None``.
    """
    state = module.state_dict()
    for name, owner in _owners(module).items():
        state[name] = owner.whole_at_first(state[name])
    return state


def own_module(module: nn.Module, state: State) -> State:
    """The part of a whole state that a module of this process holds."""
    owners = _owners(module)
    return {n: _own(value, owners[n]) if n in owners else value for n, value in state.items()}


def deal_out_module(module: nn.Module, state: State) -> None:
    """Load a state of which only the first process has the spread tables."""
    owners = _owners(module)
    mine = module.state_dict()
    for name, owner in owners.items():
        owner.deal_out(state.get(name), mine[name])
    module.load_state_dict({n: mine[n] if n in owners else value for n, value in state.items()})


def without_spread(module: nn.Module, state: State) -> State:
    """A state without the tables whose rows are spread."""
    return {name: None if name in _owners(module) else value for name, value in state.items()}


def whole_optimizer(optimizer: Optimizer, owners: Owners) -> State:
    """An optimiser's ``state_dict`` with the moments of whole tables, in the first process."""
    state = optimizer.state_dict()
    return {**state, "state": _moments(optimizer, owners, state["state"], RowOwner.whole_at_first)}


def own_optimizer(optimizer: Optimizer, owners: Owners, state: State | None) -> State | None:
    """The part of a whole state that an optimiser of this process holds."""
    if not state:
        return state
    return {
        **state,
        "state": _moments(optimizer, owners, state["state"], lambda o, whole: _own(whole, o)),
    }


def _moments(
    optimizer: Optimizer, owners: Owners, state: dict[Any, Any], change: Any
) -> dict[Any, Any]:
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    changed = {}
    for at, moments in state.items():
        owner = owners.get(parameters[at]) if int(at) < len(parameters) else None
        changed[at] = {
            name: change(owner, value) if owner is not None and _has_rows(value) else value
            for name, value in moments.items()
        }
    return changed


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _own(whole: Tensor, owner: RowOwner) -> Tensor:
    """This process's rows; a table of another size stays, for the check that refuses it."""
    return whole[owner.own].clone() if len(whole) == owner.n_rows else whole


def _owners(module: nn.Module) -> dict[str, RowOwner]:
    found: dict[str, RowOwner] = getattr(module, "row_owners", {})
    return {name: owner for name, owner in found.items() if owner.is_spread}
