"""Records of jobs in files, with which a server goes on after it was killed."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from streetlab.app.jobs.job import Job, Size
from streetlab.app.media import results
from streetlab.io.files import to_plain

log = logging.getLogger(__name__)

_LEFT_OUT = ("progress", "cancel_asked", "folder", "upload", "holds", "size", "worker")


class Ledger:
    """One JSON file for each job of a storage; paths in it are relative to the storage."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._folder = storage / "records"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def write(self, job: Job) -> None:
        """Write or replace the record of a job."""
        plain = {field.name: getattr(job, field.name) for field in fields(Job) if field.name not in _LEFT_OUT}
        plain |= {"folder": self._relative(job.folder), "holds": [self._relative(path) for path in job.holds]}
        plain |= {"upload": job.upload and self._relative(job.upload), "size": asdict(job.size)}
        results.write(self._folder / f"{job.id}.json", json.dumps(to_plain(plain)).encode())

    def remove(self, job: Job) -> None:
        """Remove the record of a job, if there is one."""
        (self._folder / f"{job.id}.json").unlink(missing_ok=True)

    def read(self) -> list[Job]:
        """Read the jobs in the order they came; damaged records, and those without their files, are deleted."""
        jobs = []
        for path in self._folder.iterdir():
            try:
                job = self._job(json.loads(path.read_bytes()))
                if path.name.startswith(".") or not all(held.exists() for held in job.holds):
                    raise ValueError("it is half written, or its files are gone")
                jobs.append(job)
            except (OSError, KeyError, TypeError, ValueError) as error:
                log.warning("a job of the server before is lost: %s (%s)", path.name, error)
                path.unlink(missing_ok=True)
        return sorted(jobs, key=lambda job: job.created)

    def _job(self, plain: dict[str, Any]) -> Job:
        held = tuple(self._storage / name for name in plain.pop("holds"))
        upload, size = plain.pop("upload"), Size(**plain.pop("size"))
        folder = self._storage / plain.pop("folder")
        return Job(**plain, folder=folder, upload=upload and self._storage / upload, size=size, holds=held)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._storage).as_posix()
