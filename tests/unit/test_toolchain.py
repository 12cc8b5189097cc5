"""What compiler command lines ask for."""

from pathlib import Path

import pytest

from kitsune_tool import toolchain
from kitsune_tool.toolchain import Command, parse


def command(line: str) -> Command:
    return parse(["gcc"], line.split())


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("", "pass"),
        ("--version", "pass"),
        ("-v", "pass"),
        ("-dumpmachine", "pass"),
        ("-print-prog-name=ld", "pass"),
        ("-### -c a.c", "pass"),
        ("--help=optimizers a.c", "pass"),
        ("-c a.S", "pass"),
        ("-c a.s -o a.o", "pass"),
        ("-c a.cc", "pass"),
        ("-x c++ -c a.c", "pass"),
        ("-x c-header a.h", "pass"),
        ("a.o b.a -lc -o prog", "pass"),
        ("-shared -o x.so a.o", "pass"),
        ("-c a.c b.c -o both.o", "pass"),
        ("-M a.c", "headers"),
        ("-MM -MF d a.c", "headers"),
        ("-fsyntax-only a.c", "headers"),
        ("-E a.c", "preprocess"),
        ("-E -c a.c", "preprocess"),
        ("-E -dM -x c -", "preprocess"),
        ("-c a.c", "compile"),
        ("-c a.i", "compile"),
        ("-x c -c weird.name", "compile"),
        ("-xc -c -", "compile"),
        ("-S a.c", "assembly"),
        ("-S -c a.c", "assembly"),
        ("a.c", "link"),
        ("a.c b.o -o prog -lm", "link"),
        ("-MMD a.c", "link"),
    ],
)
def test_action(line: str, action: str) -> None:
    assert command(line).action == action


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("-I c.c -c a.c", ["a.c"]),
        ("-include pre.c -c a.c -o o.c", ["a.c"]),
        ("-Xlinker x.c -Xpreprocessor y.c --param z.c a.c", ["a.c"]),
        ("-MF m.c -MT t.c -MQ q.c -c a.c", ["a.c"]),
        ("-c a.c b.i c.S", ["a.c", "b.i"]),
        ("-x c one -x none two.c three.o", ["one", "two.c"]),
        ("-T script.c -u sym.c a.c", ["a.c"]),
    ],
)
def test_sources(line: str, sources: list[str]) -> None:
    assert [source.path for source in command(line).c_sources] == sources


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("-c dir/a.c", "a.o"),
        ("-S dir/a.b.c", "a.b.s"),
        ("-c a.c -o x/y.obj", "x/y.obj"),
        ("-c a.c -ox.o", "x.o"),
        ("-c a.c -o one.o -o two.o", "two.o"),
        ("-x c -c -", "-.o"),
    ],
)
def test_output(line: str, output: str) -> None:
    parsed = command(line)
    assert parsed.output_of(parsed.c_sources[0]) == output


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("-MD -c sub/a.c", "-MF a.d -MQ a.o"),
        ("-MD -c sub/a.c -o out/x.y.o", "-MF out/x.y.d -MQ out/x.y.o"),
        ("-MMD -MT t -c a.c -o out.o", "-MF out.d"),
        ("-MMD -MF d/a.Tpo -c a.c -o a.o", "-MQ a.o"),
        ("-MD -MF f -MQ q -c a.c", ""),
        ("-MD -MFf -MTt -c a.c", ""),
        ("-MD -S a.c", "-MF a.d -MQ a.o"),
        ("-MD -S a.c -o x.s", "-MF x.d -MQ x.s"),
        ("-Wp,-MMD,w.d -c a.c", ""),
        ("-c a.c", ""),
    ],
)
def test_dependency_options(line: str, options: str) -> None:
    parsed = command(line)
    assert toolchain.dependency_options(parsed, parsed.c_sources[0]) == options.split()


def test_preprocessing_and_compiling_options_share_out_the_work() -> None:
    parsed = command(
        "-O2 -DA=1 -D B -UC -Iinc -I inc2 -include p.h -imacros m.h -isystem s -iquote q -Wall -g3"
        " -MD -MP -MF f.d -MT t -Wp,-DX -Xpreprocessor -DY -fdirectives-only -save-temps -pipe"
        " -std=c11 -x c -c a.c -o a.o --param p=1 -H -C -P -dD -L. -nostdinc -fPIC -v"
    )
    assert " ".join(toolchain.preprocessing_options(parsed)) == (
        "-O2 -DA=1 -D B -UC -Iinc -I inc2 -include p.h -imacros m.h -isystem s -iquote q -Wall -g3"
        " -MD -MP -MF f.d -MT t -Wp,-DX -Xpreprocessor -DY -pipe"
        " -std=c11 --param p=1 -H -L. -nostdinc -fPIC"
    )
    assert " ".join(toolchain.compiling_options(parsed)) == (
        "-O2 -Wall -g3 -save-temps -pipe -std=c11 --param p=1 -L. -fPIC"
    )


def test_without_dependencies() -> None:
    options = ["-O2", "-MD", "-MP", "-MF", "f", "-MT", "t", "-MQq", "-Wp,-MMD,x", "-DM", "-Mno"]
    assert toolchain.without_dependencies(options) == ["-O2", "-DM", "-Mno"]


def test_linking_replaces_sources_where_they_stand() -> None:
    parsed = command("-Wall first.o -x c a -x assembler b -x none c.c -lm -o prog")
    objects = {source.position: f"/t/{source.path}.o" for source in parsed.c_sources}
    assert " ".join(toolchain.linking(parsed, objects)) == (
        "-Wall first.o /t/a.o -x assembler b -x none /t/c.c.o -lm -o prog"
    )


def test_response_files(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.write_text("-DQ='a b' -c\\ d \"e\\\"f\" 'g\\'h'")
    outer = tmp_path / "outer"
    outer.write_text(f"-O2\n@{inner}\t-o\nx.o")
    parsed = parse(["gcc"], [f"@{outer}", "-c", "a.c", "@nosuchfile"])
    assert parsed.arguments == (
        "-O2", "-DQ=a b", "-c d", 'e"f', "g'h", "-o", "x.o", "-c", "a.c", "@nosuchfile"
    )  # fmt: skip
    assert parsed.original == (f"@{outer}", "-c", "a.c", "@nosuchfile")
    assert parsed.output == "x.o"


def test_response_file_that_names_itself_ends(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.write_text(f"-c @{loop}")
    assert len(parse(["gcc"], [f"@{loop}"]).arguments) < 100


@pytest.mark.parametrize(
    ("line", "compiler", "width"),
    [
        ("sh -c a.c", "sh", 1),
        ("/bin/sh -c a.c", "/bin/sh", 1),
        ("-c a.c", "cc", 0),
        ("a.c -o prog", "cc", 0),
        ("nosuchprogram -c", "cc", 0),
        ("", "cc", 0),
    ],
)
def test_split_compiler(line: str, compiler: str, width: int) -> None:
    assert toolchain.split_compiler(line.split(), ["cc"]) == ((compiler,), width)


def test_split_compiler_behind_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ccache").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.split_compiler(["ccache", "gcc", "-c"], ["cc"]) == (("ccache", "gcc"), 2)


def test_target_options_are_those_that_choose_the_machine() -> None:
    line = "-O2 --target=aarch64-linux-gnu -g --sysroot /cross -march=native -target x --sysroot=/y"
    assert toolchain.target_options(line.split()) == (
        *("--target=aarch64-linux-gnu", "--sysroot", "/cross", "-target", "x", "--sysroot=/y"),
    )
