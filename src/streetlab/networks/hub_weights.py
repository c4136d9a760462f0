"""Bring weights from a repository of the Hugging Face hub, with the hub's own client and cache."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from streetlab.errors import UserError
from streetlab.io.hub_folder import FILES

_NAME = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_PATIENCE = 3.0
"""Seconds until a hub that does not answer counts as out of reach; its client would go on trying for up to 50."""


def hub_file(source: str) -> Path:
    """The file of weights of `hf://owner/name[@revision]` in the hub's cache, downloaded where it is not there yet.

    Where the hub can't be reached, or HF_HUB_OFFLINE is set, the cache alone is looked at. HF_ENDPOINT is another hub.

    Raises:
        UserError: another form, no such repository, revision or file of weights, or no way to the hub.
    """
    match = _NAME.fullmatch(source)
    if match is None:
        raise UserError(f"model.weights={source}: allowed is hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = _address()
    offline = constants.HF_HUB_OFFLINE or not _answers(hub)
    for name in FILES:
        try:
            return Path(
                hf_hub_download(
                    match["repository"], name, revision=match["revision"], endpoint=hub, local_files_only=offline
                )
            )
        except LocalEntryNotFoundError as error:
            if not offline:
                raise _fault(source, f"the connection to {hub} broke off; try again") from error
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise _fault(source, f"{hub} asks for a login: accept its terms there, then set HF_TOKEN") from error
        except RepositoryNotFoundError as error:
            raise _fault(source, f"{hub} has no such repository, or it is private (HF_TOKEN)") from error
        except RevisionNotFoundError as error:
            raise _fault(source, f"the repository has no revision {match['revision']}") from error
        except Exception as error:  # of the network, of the library that the client asks it with, of the disk
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise _fault(source, f"could not be fetched from {hub} ({reason})") from error
    names = " or ".join(FILES)
    if not offline:
        raise _fault(source, f"the repository has no {names}; pass a file: model.weights=FILE")
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{hub} can't be reached"
    raise _fault(source, f"not in the hub's cache, and {reason}; bring its {names} and pass model.weights=FILE")


@contextmanager
def without_waiting(asked: bool) -> Iterator[None]:
    """Let the hub's client look at its cache alone where the hub can't be reached, for as long as the block lasts.

    By itself it tries again for up to 50 seconds before it says so.

    Args:
        asked: the block asks for weights; without that nothing is done.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or (asked and not _answers(_address()))
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _address() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


def repository_of(path: Path) -> dict[str, str] | None:
    """Repository and commit of a file in the hub's cache; None for any other file.

    The cache's folders are `models--<owner>--<name>/snapshots/<commit>/`.
    """
    *_, repository, snapshots, commit = ("", "", "", *path.parent.parts)
    if snapshots != "snapshots" or not repository.startswith("models--"):
        return None
    return {"repository": repository.removeprefix("models--").replace("--", "/", 1), "commit": commit}


def _fault(source: str, reason: str) -> UserError:
    return UserError(f"model.weights={source}: {reason}")


def _answers(hub: str) -> bool:
    """True if the hub, or the proxy before it, takes a connection."""
    address = urlsplit(hub)
    proxy = getproxies().get(address.scheme)
    target = urlsplit(proxy if proxy and "://" in proxy else f"http://{proxy}") if proxy else address
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        with socket.create_connection((target.hostname or "", port), timeout=_PATIENCE):
            return True
    except OSError:
        return False
