"""What SCons says if something is wrong: the tool's own words, and no traceback."""

from __future__ import annotations

from scons_project import Project


def refused(project: Project, *targets: str) -> str:
    ran = project.scons(*targets)
    assert ran.status == 2
    assert "Traceback" not in ran.errors
    return ran.errors


def test_a_missing_rule_shows_both_definitions_and_the_rule_to_write(released: Project) -> None:
    released.write("v3/main.c", released.files()["v2/main.c"].decode())
    released.write("v3/counter.c", released.files()["v2/counter.c"].decode())
    header = released.files()["v2/counter.h"].decode()
    released.write("v3/counter.h", header.replace("int step;", "int step;\n    long total;"))
    manifest = released.files()["kitsune.yaml"].decode()
    released.write("kitsune.yaml", manifest + '  - version: "3.0"\n    source: v3\n')
    message = refused(released, "update-release")
    assert "v3/counter.h:5:" in message
    assert "v2/counter.h:2:" in message
    assert '- init: "struct counter.total"' in message
    assert not released.store("3.0").exists() or not list(released.store("3.0").iterdir())

    released.write(
        "kitsune.yaml",
        (released.place / "kitsune.yaml").read_text()
        + '    rules:\n      - init: "struct counter.total"\n',
    )
    released.scons("update-release").ok()
    assert (released.store("3.0") / "counter.so").exists()


def test_a_version_with_other_content_names_the_manifest_s_line(released: Project) -> None:
    before = released.files()["releases/counter/2.0/counter.so"]
    released.replace("v2/counter.h", "STEP 2", "STEP 3")
    assert refused(released, "update-release").startswith(
        "kitsune.yaml:6:14: error[K222]: version 2.0 of counter has been released with other "
        "content\n"
        '      - version: "2.0"\n'
        "                 ^\n"
        "releases/counter/2.0/counter.so: note: the release in the store is here\n"
        "build/kitsune/counter/2.0/counter.so: note: built now, differing in code, data or types\n"
        "hint: a release is never replaced, because a server may be running it: add a new\n"
        "      version to the manifest, or take back what was changed since 2.0\n"
    )
    assert released.files()["releases/counter/2.0/counter.so"] == before

    released.replace("v2/counter.h", "STEP 3", "STEP 2")
    released.scons("update-release").ok()


def test_a_parent_that_is_nowhere_is_named(project: Project) -> None:
    project.replace("SConstruct", "for version in older:", "for version in []:")
    project.scons("build").ok()
    assert refused(project, "update-release").startswith(
        "kitsune.yaml:6:14: error[K223]: release 1.0 of counter, the parent of 2.0, is not in the "
        "store\n"
        '      - version: "2.0"\n'
        "                 ^\n"
        "hint: restore releases/counter/1.0,\n"
        "      or declare KitsuneRelease('1.0', ...) before 2.0 and build release-chain,\n"
        "      or write 'parents: []' if no server runs an earlier version\n"
    )


def test_a_mistake_in_the_manifest_stops_scons_with_its_line(project: Project) -> None:
    project.replace("kitsune.yaml", "source: v1", "sauce: v1")
    assert refused(project).startswith(
        "kitsune.yaml:5:5: error[K204]: unknown key 'sauce' in a version\n"
        "        sauce: v1\n"
        "        ^\n"
        "hint: did you mean 'source'?\n"
    )


def test_a_version_declared_twice_is_an_error(project: Project) -> None:
    project.write(
        "SConstruct",
        project.files()["SConstruct"].decode() + 'env.KitsuneRelease("2.0", "v2/main.c")\n',
    )
    assert refused(project).startswith(
        "SConstruct:17: error[K240]: version 2.0 of counter is declared twice\n"
        "hint: KitsuneProgram declares the last version; use KitsuneRelease for earlier ones\n"
    )


def test_an_environment_without_c_is_told_so(project: Project) -> None:
    project.write("SConstruct", 'Environment(tools=["kitsune"])\n')
    assert refused(project).startswith(
        "\n"
        "scons: *** kitsune: no C compiler in this environment; load the C tools first, as in "
        "Environment(tools=['default', 'kitsune'])\n"
    )


def test_the_compiler_s_complaint_about_a_rule_names_the_manifest(project: Project) -> None:
    project.replace("kitsune.yaml", "$out = 1;", "$out = nonsense;")
    message = refused(project, "release-chain")
    assert "error[K230]: the compiler refuses what was generated from the rules" in message
    assert "kitsune.yaml:10:" in message


def test_a_unit_that_does_not_compile_fails_as_with_any_compiler(project: Project) -> None:
    project.replace("v2/counter.c", "STEP", "NO_STEP")
    assert "v2/counter.c:7:" in refused(project)
