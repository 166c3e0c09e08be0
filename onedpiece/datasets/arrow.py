"""pyarrow, which is imported only when a dataset is read or written."""

from __future__ import annotations

from typing import Any

from onedpiece.errors import OdpError


def import_pyarrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises OdpError if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise OdpError(
            f"token datasets need the extra: pip install 'onedpiece[datasets]' ({error})"
        ) from error
    return pyarrow, pyarrow.parquet
