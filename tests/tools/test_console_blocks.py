"""Console blocks of documents: parsing, running, comparing."""

import os

import pytest

from tests.support import console_blocks

DOCUMENT = """
Some words.

```console
$ echo one \\
  two
one two
$ a=3; true
```

```toml keys.toml
[[client]]
```

```console
$ echo $a >&2
3
```
"""


def test_commands_are_found_with_their_expected_output():
    steps = list(console_blocks.steps(DOCUMENT))

    assert [(s.line, s.command, s.expected) for s in steps] == [
        (5, "echo one \\\n  two", "one two"),
        (8, "a=3; true", ""),
        (16, "echo $a >&2", "3"),
    ]


def test_blocks_with_a_name_are_files():
    assert console_blocks.files(DOCUMENT) == {"keys.toml": "[[client]]\n"}


def test_commands_share_one_shell_and_both_streams_are_kept(tmp_path):
    commands = [step.command for step in console_blocks.steps(DOCUMENT)]

    assert console_blocks.run(commands, tmp_path, os.environ, 10) == ["one two\n", "", "3\n"]


def test_a_shell_that_ends_early_is_an_error(tmp_path):
    with pytest.raises(AssertionError, match="ended before"):
        console_blocks.run(["exit 1", "echo"], tmp_path, os.environ, 10)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a", "a\n", True),
        ("a", "a", True),
        ("a", "b\n", False),
        ("a", "a\nb\n", False),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("a\n...\nd", "a\nb\n", False),
        ("a ... c", "a b c\n", True),
        ("a ... c", "a b d\n", False),
        ("a.c", "abc\n", False),
        ("", "", True),
        ("", "x\n", False),
        ("x", "", False),
    ],
)
def test_output_is_compared_line_by_line(expected, printed, same):
    assert console_blocks.matches(expected, printed) is same
