"""`make demo` goes from nothing to one page whose links all lead somewhere, and does nothing twice."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, in an empty folder; its commands write the files that they promise, and train nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    ran: list[list[str]] = []

    def run(words: list[str]) -> int:
        ran.append(words)
        options = dict(word.split("=", 1) for word in words if "=" in word)
        if words[0] == "train":
            folder = Path(options["output"], options["experiment"] + ",train=1-0123abcd")
            (folder / "figures").mkdir(parents=True, exist_ok=True)
            (folder / "figures" / "best_median_worst.png").touch()
            if not (folder / "metrics.json").exists():
                numbers = {"test": {"macro_f1": 0.75, "miou": 0.25, "n": 7}}
                (folder / "metrics.json").write_text(json.dumps(numbers))
        elif words[0] == "explain":
            Path(options["output"]).mkdir()
            Path(options["output"], "explain.html").touch()
        else:
            Path(options["runs"], "compare").mkdir()
            Path(options["runs"], "compare", "compare.html").touch()
        return 0

    monkeypatch.setattr(demo.cli, "run", run)
    return ran


def test_the_page_links_everything_and_a_second_run_makes_nothing_again(demo, commands, capsys) -> None:
    assert demo.main() == 0
    assert [words[0] for words in commands] == ["train", "train", "train", "explain", "compare"]
    page = (demo.ROOT / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:href|src)="([^"#:]+)"', page)
    assert len(set(links)) >= 6
    assert all((demo.ROOT / link).exists() for link in links)
    assert page.count("macro-F1 0.750") == 2
    assert page.count("mIoU 0.250") == 1
    out = capsys.readouterr().out
    assert [f"[{n}/5]" in out for n in range(1, 6)] == [True] * 5
    assert "min left" in out
    assert demo.main() == 0
    assert [words[0] for words in commands[5:]] == ["train", "train", "train"]  # which skip what is complete


def test_a_stage_that_fails_ends_the_demo_with_its_code(demo, commands, monkeypatch, capsys) -> None:
    monkeypatch.setattr(demo.cli, "run", lambda words: 3)
    assert demo.main() == 3
    assert "`make demo` goes on" in capsys.readouterr().err
    assert not (demo.ROOT / "index.html").exists()


def test_the_words_of_every_stage_compose(demo, commands) -> None:
    from streetlab.config.composition import composer

    demo.main()
    with composer() as compose:
        for words in commands:
            if words[0] == "train":
                compose.compose("train", [word for word in words[2:] if not word.startswith("output=")])
