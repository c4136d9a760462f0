"""OmegaConf resolvers for the names of run folders: `${run_folder:}`, `${sweep_folder:}`, `${run_name:}`."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from streetlab.config.process_count import check_processes
from streetlab.config.run_names import does_not_name_a_run, fresh, run_name, sweep_name
from streetlab.config.sweeps import plan_sweep
from streetlab.config.values import plain, without_hydra
from streetlab.hydra_compat import root_of

OUTPUTS = Path("outputs")
_SWEEP = "streetlab_sweep"


def register_resolvers() -> None:
    """Register the resolvers with OmegaConf; may be called again."""
    for name, resolver in {
        "run_folder": run_folder,
        "sweep_folder": sweep_folder,
        "run_name": job_name,
    }.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def run_folder(*, _root_: DictConfig) -> str:
    """The folder of a single run: `output`, else `outputs/<study>/<overrides>-<hash>`."""
    plain(without_hydra(_root_))  # a missing or unresolvable value is said before a folder is made
    return str(_root_.output or OUTPUTS / _root_.study / job_name(_root_=_root_))


def sweep_folder(*, _root_: DictConfig) -> str:
    """The folder of a sweep: `output`, else `outputs/<study>/<swept keys>-<fixed overrides>-<hash>`.

    With `resume=never` one that is not there yet.
    """
    # Hydra asks for it first on the sweep's own config, later on each job's, which knows that job's overrides
    # only; but it hands the first one's cache of interpolations on to the jobs, in other processes too.
    known = OmegaConf.get_cache(_root_)[_SWEEP]
    if "folder" not in known:
        plan = plan_sweep(_root_)
        first = plan.first_config()
        check_processes(plan, first)
        folder = Path(_root_.output or OUTPUTS / first.study / sweep_name(plan.swept, plan.fixed, first))
        known["folder"] = str(fresh(folder) if first.resume == "never" else folder)
        known["swept"] = list(plan.swept)
        known["keys"] = [key for key in plan.swept if does_not_name_a_run(key)]
    return known["folder"]


def job_name(*, _root_: DictConfig) -> str:
    """The name of one run, within its sweep or alone."""
    # Unresolved: a path may hold an escaped `${`.
    words = OmegaConf.to_container(_root_.hydra.overrides.task, resolve=False)
    assert isinstance(words, list)
    return run_name([str(word) for word in words], _root_, _kept_keys(_root_))


def is_told_apart_by_name() -> bool:
    """Check that the running job's sweep varies keys that count in its name alone, such as `num_workers`."""
    return bool(_kept_keys(root_of(HydraConfig.get())))  # type: ignore[arg-type]


def _kept_keys(root: DictConfig) -> list[str]:
    return OmegaConf.get_cache(root)[_SWEEP].get("keys", [])


def swept_words() -> list[str]:
    """The words of the running job that its sweep varies, `key=value` each; all of its words where it runs alone."""
    hydra = HydraConfig.get()
    words = [str(word) for word in hydra.overrides.task]
    swept = OmegaConf.get_cache(root_of(hydra))[_SWEEP].get("swept")  # type: ignore[arg-type]
    return words if swept is None else [word for word in words if word.lstrip("+~").partition("=")[0] in swept]
