"""`streetlab <command> [hydra overrides]`: find the command, run it under Hydra, report errors in one line."""

from __future__ import annotations

import _thread
import io
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from streetlab import __version__
from streetlab.errors import UserError, did_you_mean, was_interrupted
from streetlab.io.filenames import ERRORS, one_line
from streetlab.process_rank import process_rank, repeats_faults
from streetlab.sweeps.outcome import JobCutShort, JobFailed, Outcome, collect_outcome

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Command:
    """One command: the module whose `run(cfg)` does the work, and its line in the help."""

    module: str
    help: str
    records: bool = False
    """Whether each job keeps a run record, which then also says how the job failed."""
    first: str = ""
    """Key that the first word gives where it has none: `streetlab runs DIR` is `streetlab runs runs=DIR`."""


COMMANDS = {
    "train": Command("streetlab.training.command", "train, test the best epoch once, write the run record", True),
    "evaluate": Command("streetlab.training.evaluate", "test a finished run again: other data, size, split or views"),
    "compare": Command("streetlab.compare.command", "put finished runs side by side: table, curves, HTML page"),
    "predict": Command("streetlab.inference.command", "predict photos, folders and videos with a finished run"),
    "survey": Command("streetlab.survey.command", "estimate streets and districts from photos with places"),
    "app": Command("streetlab.app.command", "serve the page that shows what finished runs see in photos and videos"),
    "explain": Command("streetlab.explain.command", "show what in its photos a run's network looks at, and score that"),
    "export": Command("streetlab.export.command", "write a run's network as one file for ONNX Runtime, and compare it"),
    "compress": Command("streetlab.compress.command", "prune a run's network, train it on, measure both"),
    "audit": Command("streetlab.audit.command", "find what is wrong with a data set; write a split without leaks"),
    "runs": Command("streetlab.records.runs_command", "list the runs in a folder, and what to type next", first="runs"),
    "open": Command("streetlab.records.open_command", "open a page of results in the browser", first="runs"),
    "completion": Command(
        "streetlab.config.completion", "print or install the script for a shell's Tab key", first="shell"
    ),
    "doctor": Command("streetlab.doctor", "say what is installed, on what hardware, and train one step on it"),
    "check": Command("streetlab.check", "compose every experiment and bind every _target_, before any data"),
    "cache": Command("streetlab.loading.cache_command", "show or delete the cache of decoded images"),
    "fetch": Command(
        "streetlab.fetch.command", "list public data sets and weights, or bring them by name", first="name"
    ),
}

SUBCOMMANDS = {
    "survey plan": Command("streetlab.survey.plan_command", "say how many streets to visit and grade, and draw them"),
}
"""Commands of two words; their config is called survey_plan."""


@dataclass(frozen=True)
class Job:
    """Hydra's task function. Picklable: a launcher may run it in another process."""

    module: str
    records: bool = False
    show_traceback: bool = False
    argv: tuple[str, ...] = ()
    outcome: Outcome = field(default_factory=Outcome, compare=False)
    """Where a failure is noted; a job in another process has one of its own."""

    def __call__(self, cfg: DictConfig) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from streetlab.config.import_path import config_folders_importable
        from streetlab.config.resolvers import swept_words
        from streetlab.records.record import now
        from streetlab.sweeps.devices import take_device
        from streetlab.sweeps.report import record_failure

        hydra = HydraConfig.get()
        sweeping = hydra.mode == RunMode.MULTIRUN
        asked = " ".join(swept_words()) if sweeping else ""
        started = now()
        if "JoblibLauncher" in hydra.launcher._target_ and sweeping:
            take_device()
        try:
            with config_folders_importable():
                return self._run(cfg)
        except Exception as error:
            from streetlab.io.files import disk_fault

            if was_interrupted(error):
                raise KeyboardInterrupt from error
            if not sweeping:
                self.outcome.error = error  # reported at the end; raised here, Hydra would add lines of its own
                if self.records:
                    with suppress(OSError):
                        Path(hydra.runtime.output_dir).rmdir()  # Hydra made it; it stays where something is in it
                return None
            line = _report(error, self.show_traceback, f"job {hydra.job.num} ({asked}): ")
            kind = JobFailed if disk_fault(error) is None else JobCutShort
            folder = Path(hydra.runtime.output_dir)
            if self.records and process_rank().rank == 0:
                record_failure(folder, cfg, hydra.overrides.task, error, started)
        finally:
            if sweeping:
                _release_memory()  # the next job's network comes when this one's is gone
        self.outcome.failed[folder.name] = f"{hydra.job.num}: {asked}"
        in_this_process = "BasicLauncher" in hydra.launcher._target_ and "BasicSweeper" in hydra.sweeper._target_
        if in_this_process:
            return None  # the sweep goes on, batch by batch
        raise kind(line)

    def _run(self, cfg: DictConfig) -> Any:
        from importlib import import_module

        from streetlab.config.values import check_nothing_missing
        from streetlab.progress import LineFormatter

        check_nothing_missing(cfg)
        if logging.lastResort is not None:  # what prints warnings of commands without a log
            logging.lastResort.setFormatter(LineFormatter())
        ours = sys.argv
        sys.argv = list(self.argv) or ours  # Lightning starts further processes by repeating the command line
        try:
            return import_module(self.module).run(cfg)
        finally:
            sys.argv = ours

    def __reduce__(self) -> tuple[Any, ...]:
        return _job_in_new_process, (self.module, self.records, self.show_traceback, self.argv)


def _job_in_new_process(*arguments: Any) -> Job:
    from streetlab.config.call import register

    register()
    return Job(*arguments)


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: runs the command line and exits with its code."""
    # before torch is loaded: threads that spin while they wait lose most where another process wants the cores too
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.unraisablehook = _raise_again
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, which tidies up
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run one command line and return the exit code.

    0 success, 1 a job of a sweep failed or the fault is ours, 2 bad input, 130 Ctrl-C.
    """
    _print_any_name()
    with collect_outcome() as outcome:
        code = _run(argv, outcome)
    return code if code is not None else _sum_up_failures(outcome)


def _run(argv: Sequence[str], outcome: Outcome) -> int | None:
    """Run one command line; None leaves the exit code to the outcome of its jobs."""
    words = [word for word in argv if word != "--traceback"]
    show_traceback = len(words) < len(argv)
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(_help())
            return 0
        if words[0] in ("-V", "--version"):
            print(f"streetlab {__version__}")
            return 0
        if words[0] in ("-sc", "--shell-completion"):
            from streetlab.config.completion import respond

            print(respond(words[1:], COMMANDS))
            return 0
        _run_command(words[0], words[1:], show_traceback, outcome)
        if outcome.error is not None:
            raise outcome.error
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # Hydra's --help, and a command that has said everything itself
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except JobFailed as failed:  # in another process, which has printed the line; the records tell of the others
        if not outcome.failed:
            outcome.failed[""] = str(failed)
    except Exception as error:
        if was_interrupted(error):
            return _interrupted()
        _report(error, show_traceback)
        return 2 if isinstance(error, UserError) else 1
    return None


def _interrupted() -> int:
    print("streetlab: interrupted", file=sys.stderr)
    return 130


def _raise_again(lost: sys.UnraisableHookArgs) -> None:
    """Raise Ctrl-C again that came while an object was deleted, where Python prints it and goes on."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()  # raised in here it would be lost once more
    else:
        sys.__unraisablehook__(lost)


def _print_any_name() -> None:
    """Let names through that are not UTF-8, or not in the terminal's encoding: escaped, see `filenames`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _help() -> str:
    width = max(map(len, COMMANDS | SUBCOMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in (COMMANDS | SUBCOMMANDS).items()]
    return "\n".join(
        [
            "streetlab <command> [key=value ...]",
            "",
            *lines,
            "",
            "  streetlab <command> --help     its config and what can be chosen",
            "  streetlab <command> --cfg job  the config that the words make, without running it",
            "  streetlab <command> -m a=1,2   one job for each combination",
            "  --traceback                    where an error comes from",
        ]
    )


def _run_command(name: str, words: Sequence[str], show_traceback: bool, outcome: Outcome) -> None:
    command = COMMANDS.get(name)
    typed = name
    if words and f"{name} {words[0]}" in SUBCOMMANDS:
        typed, words = f"{name} {words[0]}", words[1:]
        command, name = SUBCOMMANDS[typed], typed.replace(" ", "_")
    if command is None:
        raise UserError(f"no command '{name}'{did_you_mean(name, COMMANDS)} (commands: {', '.join(COMMANDS)})")

    import hydra

    from streetlab.config.call import register, translated
    from streetlab.config.command_line import arrange, collect, is_sweep, keeps_sweeps, with_first_key
    from streetlab.config.composition import config_folder
    from streetlab.config.quoting import quote

    line = collect(arrange(with_first_key(words, command.first)), name)
    register()
    if {"-h", "--help"} & set(line.options):
        from streetlab.config.help import introduction

        print(introduction(name, command.help, typed))
    # Hydra prints errors and exits unless this is set; we want them here, to say them in one line.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    named = [f"hydra.job.name={name}", f"hydra.help.app_name='streetlab {typed}'"]
    argv = sys.argv
    try:
        with ExitStack() as stack:
            folder = []
            if is_sweep([*line.options, *line.overrides]) and not keeps_sweeps(name):  # Hydra makes one all the same
                folder = [f"hydra.sweep.dir={quote(stack.enter_context(TemporaryDirectory(prefix='streetlab-')))}"]
            sys.argv = [f"streetlab {typed}", *line.options, *folder, *line.overrides, *named]
            app = hydra.main(config_path=str(config_folder()), config_name=name, version_base="1.3")
            with translated(name, line):
                app(Job(command.module, command.records, show_traceback, tuple(argv), outcome))()
    finally:
        outcome.close()
        sys.argv = argv
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _report(error: BaseException, show_traceback: bool, prefix: str = "") -> str:
    """Print the error in one line and return the line.

    Of processes that were started together one of each machine prints a fault in words or files, which all have; in
    training each has photos and memory of its own.
    """
    text = one_line(re.sub(r"\s*\n\s*", " ", str(error).strip()))
    if not isinstance(error, UserError):
        hint = "" if show_traceback else " (--traceback shows where)"
        text = f"{type(error).__name__}: {text}{hint}"
    if isinstance(error, UserError) and repeats_faults() and not _trains_together():
        return text
    if show_traceback:
        traceback.print_exception(error)
    print(f"streetlab: {prefix}{text}", file=sys.stderr, flush=True)
    return text


def _trains_together() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def _release_memory() -> None:
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _sum_up_failures(outcome: Outcome) -> int:
    if not outcome.failed:
        return 0
    print(f"streetlab: failed jobs: {len(outcome.failed)}", file=sys.stderr)
    for job in outcome.failed.values():
        print(f"  {one_line(job)}", file=sys.stderr)
    return 1
