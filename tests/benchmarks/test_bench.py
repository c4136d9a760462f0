"""`make bench` asks every question, whatever became of the one before."""

from __future__ import annotations

ANSWERS = """
import pathlib, sys
assert sys.argv[1] == "--output" and sys.argv[3:] == ["--quick"], sys.argv
pathlib.Path(sys.argv[2], "{name}.md").write_text("## answer of {name}\\n")
"""


def test_a_question_that_fails_does_not_lose_the_others(script, tmp_path, monkeypatch, capfd):
    bench = script("bench")
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "bench.py"))
    for name in bench.QUESTIONS:
        (tmp_path / f"{name}.py").write_text(ANSWERS.format(name=name))
    (tmp_path / "start_up.py").write_text("raise SystemExit(3)")
    output = tmp_path / "reports"
    output.mkdir()
    (output / "start_up.md").write_text("## an answer of last week\n")
    assert bench.main(["--quick", "--output", str(output)]) == 1
    page = (output / "README.md").read_text()
    assert [name for name in bench.QUESTIONS if f"## answer of {name}\n" in page] == [
        name for name in bench.QUESTIONS if name != "start_up"
    ]
    assert "No answer (exit code 3)" in page
    assert "last week" not in page
    assert "failed: start_up" in capfd.readouterr().err
    (tmp_path / "start_up.py").write_text(ANSWERS.format(name="start_up"))
    assert bench.main(["--quick", "--output", str(output)]) == 0


def test_every_question_has_a_script(script):
    bench = script("bench")
    assert [name for name in bench.QUESTIONS if not bench.script_of(name).is_file()] == []
