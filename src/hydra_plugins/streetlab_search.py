"""Register the search with Hydra, which takes sweepers from `hydra_plugins` only and imports all at each start."""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from streetlab.errors import UserError


class OptunaSearch(Sweeper):
    """Stands for `streetlab.sweeps.search.Search`, which imports Optuna.

    Raises:
        UserError: the extra `sweep` is not installed.
    """

    def __init__(self, **options: Any) -> None:
        try:
            from streetlab.sweeps.search import Search
        except ImportError as error:
            raise UserError(f"a search needs Optuna ({error}): pip install 'streetlab[sweep]'") from error
        self.search = Search(**options)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.search.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        return self.search.sweep(arguments)
