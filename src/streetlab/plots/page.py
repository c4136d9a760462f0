"""Self-contained HTML pages: everything inlined, nothing fetched; light, dark, phone and paper."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from streetlab.io.filenames import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDEST = 1600


def render(template: str, **context: Any) -> str:
    """Fill `plots/templates/<template>`; every value is escaped unless it is Markup.

    Raises:
        jinja2.UndefinedError: the template uses a name that the context lacks.
    """
    environment = Environment(
        loader=PackageLoader("streetlab.plots", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(template).render(**context)


def _shown(value: object) -> object:
    """Remove bytes and control characters from a value, which names may have and no page can hold."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def inline_figure(figure: Figure, name: str) -> Markup:
    """The figure as inline SVG; `name` is unique in the page."""
    from streetlab.plots.figure import svg  # a page of tables alone does not wait for Matplotlib

    return Markup(svg(figure, name))


def inline_photos(png: bytes) -> str:
    """A `data:` address of a sheet of photos, as JPEG and at most 1600 px wide, a tenth of the PNG's bytes.

    Raises:
        OSError: the bytes are no image.
    """
    with Image.open(io.BytesIO(png)) as image:
        picture = image.convert("RGB")
    if picture.width > _WIDEST:
        height = round(picture.height * _WIDEST / picture.width)
        picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    return inline_jpeg(picture, quality=86)


def inline_jpeg(picture: Image.Image, quality: int) -> str:
    """A `data:` address of an RGB picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def inline_png(png: bytes) -> str:
    """A `data:` address of PNG bytes, as they are."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def link(relative: str) -> str:
    """A relative path as an address: blanks, `#`, `?`, `%` and what is not ASCII are quoted."""
    address = quote(relative.encode("utf-8", "surrogateescape"), safe="/")
    # "a:b" would read as a scheme; ./ keeps it a path
    return address if address.startswith(("/", ".")) else f"./{address}"
