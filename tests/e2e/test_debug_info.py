"""The debug information of a release lies beside the stripped program, where backtraces find it."""

import pathlib
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "split-debug-info.sh"
SOURCE = """
#[inline(never)]
fn the_function_that_panics(n: usize) -> u8 { [1, 2][n] }
fn main() { println!("{}", the_function_that_panics(2 + std::env::args().count())); }
"""


def backtrace(program):
    done = subprocess.run([program], env={"RUST_BACKTRACE": "1"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 101, done
    return done.stderr


def sections(program):
    return subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout


def test_a_stripped_program_finds_its_debug_information_beside_it(tmp_path):
    source, program = tmp_path / "panics.rs", tmp_path / "panics"
    source.write_text(SOURCE)
    build = ["rustc", "-O", "-C", "debuginfo=line-tables-only", "-o", program, source]
    subprocess.run(build, check=True, timeout=300)
    whole = program.stat().st_size
    subprocess.run([SCRIPT, program], check=True, timeout=60)
    debug = tmp_path / "panics.debug"
    assert program.stat().st_size * 2 < whole, "the program is small"
    assert ".debug_line" in sections(debug)
    assert ".debug_line" not in sections(program)
    assert ".symtab" not in sections(program)
    assert "the_function_that_panics" in backtrace(program)
    debug.unlink()
    assert "the_function_that_panics" not in backtrace(program)
