"""What the tests of fewer bits begin from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.halved import write_segmenter


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported segmentation network in float32."""
    return write_segmenter(tmp_path_factory.mktemp("halved") / "fp32.onnx")
