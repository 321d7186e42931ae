"""What a shell completes, asked of bash itself."""

import shutil
import subprocess
import sys

import pytest

from queue_connector.cli import COMMANDS, SHELLS, main

ROOT_SCRIPT = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
complete -p queue-connector > /dev/null || exit 9
function=$(complete -p queue-connector | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" queue-connector "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    made = subprocess.run(
        [sys.executable, "-m", "queue_connector", "--print-completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert made.stderr == ""
    file = tmp_path_factory.mktemp("completion") / "queue-connector.bash"
    file.write_text(made.stdout)
    return str(file)


def completed(script, *words, cwd=None):
    done = subprocess.run(
        ["bash", "--norc", "-c", ROOT_SCRIPT, "bash", script, "queue-connector", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands(script):
    assert completed(script, "") >= {*COMMANDS}
    assert completed(script, "va") == {"validate"}
    assert completed(script, "config", "") >= {"put", "apply", "get", "list", "delete"}


def test_bash_completes_options_and_what_they_take(script):
    assert completed(script, "config", "put", "--f") == {"--force"}
    assert completed(script, "graph", "--format", "") == {"text", "mermaid", "svg", "png", "json"}


def test_bash_completes_files_where_one_is_wanted(script, tmp_path):
    (tmp_path / "mine.json").touch()
    for command in ("validate", "serve", "run", "graph", "doctor"):
        assert completed(script, command, "mi", cwd=tmp_path) == {"mine.json"}
    assert completed(script, "graph", "--output", "mi", cwd=tmp_path) == {"mine.json"}
    assert completed(script, "flows", "mi", cwd=tmp_path) == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_that_is_offered_has_a_script_that_it_understands(shell, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(command in told for command in COMMANDS)
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(told)
        subprocess.run([shell, "-n", file], check=True, timeout=30)
