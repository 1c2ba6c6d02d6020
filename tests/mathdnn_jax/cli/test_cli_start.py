"""How the command line starts: what it imports, what its help says, and where it writes by default."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mathdnn_jax.cli import main
from mathdnn_jax.cli.main import ARGUMENTS, COMMANDS, build_parser
from mathdnn_jax.cli.outputs import output_path
from mathdnn_jax.cli.train_arguments import DEFAULTS, MODELS
from mathdnn_jax.errors import OutputError
from mathdnn_jax.recipes import RECIPES
from mathdnn_jax.recipes.settings import known_settings

LARGE = ("jax", "flax", "optax", "torch", "matplotlib", "sklearn", "scipy", "parity")
"""Packages that take a tenth of a second or more to import."""


def test_help_and_wrong_arguments_import_nothing_large() -> None:
    first = [["--help"], ["--version"], [], ["nonsense"]]
    lines = first + [[name, extra] for name in COMMANDS for extra in ("--help", "--no-such-option")]
    code = f"""
import contextlib, io, sys
from mathdnn_jax.cli import main
ended = 0
for line in {lines!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(line)
        except SystemExit:
            ended += 1
    unwanted = {(*LARGE, "numpy", "rich")!r} if line in {first!r} else {LARGE!r}
    print(line, [name for name in unwanted if name in sys.modules])
print(ended)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *said, ended = done.stdout.splitlines()
    assert said == [f"{line} []" for line in lines]
    assert int(ended) == len(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_summed_up_in_its_own_words(name: str) -> None:
    for module in {name, ARGUMENTS.get(name, name)}:
        assert (importlib.import_module(f"mathdnn_jax.cli.{module}").__doc__ or "").splitlines()[0] == COMMANDS[name]


def in_words(key: str) -> str:
    """The defaults of a setting: the most frequent, then the others with their models."""
    values = {name: known_settings(recipe)[key] for name, recipe in RECIPES.items()}
    usual = Counter(values.values()).most_common(1)[0][0]
    others = [value for value in dict.fromkeys(values.values()) if value != usual]
    texts = [f"{value} for {', '.join(name for name in values if values[name] == value)}" for value in others]
    return "; ".join([str(usual), *texts])


def test_the_help_of_train_tells_the_defaults_of_the_recipes() -> None:
    assert tuple(RECIPES) == MODELS
    assert {key: in_words(key) for key in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_says_its_default(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = next(action for action in build_parser(name)._actions if isinstance(action, argparse._SubParsersAction))
    for option in commands.choices[name]._actions:
        takes_one = option.option_strings and option.nargs != 0 and not option.required
        if takes_one and option.default != [] and option.dest not in WITHOUT_DEFAULT:
            assert "default" in (option.help or ""), option.option_strings


WITHOUT_DEFAULT = ("inside", "plot", "mask", "torch", "flax", "shape", "save_rules", "output_layout", "only")
"""Options that do nothing when they are absent."""


def test_a_default_output_is_not_replaced_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = argparse.Namespace(output=None, overwrite=False)
    assert output_path(options, "out.png") == Path("out.png")
    Path("out.png").write_text("precious")
    with pytest.raises(OutputError, match=r"out\.png, the default output, exists already: name another with --output"):
        output_path(options, "out.png")
    assert output_path(argparse.Namespace(output=None, overwrite=True), "out.png") == Path("out.png")
    assert output_path(argparse.Namespace(output="out.png", overwrite=False), "other") == Path("out.png")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["inpaint", "--checkpoint", "a.pt"], "inpainted.png"),
        (["certify", "some/net.pt"], "net.certificate.json"),
        (["certify", "net.pt", "--torch", "m:f", "--flax", "m:g", "--shape", "3"], "net.certificate.json"),
        (["sample", "run"], "samples.png"),
        (["demo"], "demo"),
    ],
)
def test_commands_refuse_to_replace_their_default_output(
    arguments: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("precious")
    assert main(arguments) == 2
    assert f"{name}, the default output, exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert Path(name).read_text() == "precious"
    # With --overwrite the command goes on, to the next thing that is wrong.
    if name != "demo":
        assert main([*arguments, "--overwrite"]) == 2
        assert "default output" not in capsys.readouterr().err
