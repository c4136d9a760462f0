"""Visitors: who takes turns with whom, without names or passwords."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from streetlab.app.jobs.queue import ID

_COOKIE = "streetlab-visitor"


def _visitor_of(request: Request) -> str:
    """The visitor's cookie, or the address of a program that keeps none."""
    cookie = request.cookies.get(_COOKIE, "")
    return cookie if ID.fullmatch(cookie) else request.client.host if request.client else ""


Visitor = Annotated[str, Depends(_visitor_of)]
"""A random word that a browser keeps until it is closed. It gives access to nothing: it only keeps the turns."""


def name_visitor(request: Request, response: Response) -> None:
    """Give a browser that opens the page a random name, unless it has one."""
    if not ID.fullmatch(request.cookies.get(_COOKIE, "")):
        response.set_cookie(_COOKIE, secrets.token_urlsafe(18), httponly=True, samesite="strict")
