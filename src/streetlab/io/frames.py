"""Hand tables over to pandas, which streetlab itself does not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streetlab.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Make a data frame of rows, with the columns in the order of the first row where none is given.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UserError("to_pandas: pandas is not installed (pip install 'streetlab[pandas]')") from None
    return pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
