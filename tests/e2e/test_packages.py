"""What a release is: its packages with the same contents, its SBOM, its licences, its signature, its version.

test_installation.py installs the packages.
"""

import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import tarfile

import pytest

from harness.machine import new_root
from harness.packages import ROOT
from harness.process import result, run
from harness.releases import dist, only
from release import checksums, source
from release import program as static
from release.contents import CONFIGURATION, EXAMPLE

# What the .deb has and the .rpm has not, and the other way round.
ONLY_DEB = {
    "/usr/share/doc/raas/changelog.gz",
    "/usr/share/doc/raas/copyright",
    "/usr/share/lintian/overrides/raas",
}
ONLY_RPM = {"/usr/share/licenses/raas/LICENSE"}
# Where the zsh of each family looks for completions.
ZSH = {"/usr/share/zsh/site-functions/_raas": "/usr/share/zsh/vendor-completions/_raas"}


def digests(folder):
    """Name to digest of everything in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def installed_by_deb(package):
    """Path to mode and digest of the files in a .deb, and path to content of its texts."""
    command = ["dpkg-deb", "--fsys-tarfile", package]
    files, texts = {}, {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        with tarfile.open(fileobj=reader.stdout, mode="r|") as tar:
            for member in tar:
                assert (member.uname, member.gname) == ("root", "root"), member.name
                if member.isfile():
                    content, path = tar.extractfile(member).read(), member.name.removeprefix(".")
                    files[path] = (member.mode, hashlib.sha256(content).hexdigest())
                    texts[path] = content if len(content) < 4 << 20 else None
        assert reader.wait() == 0
    return files, texts


def installed_by_rpm(package):
    """Path to mode and digest of the files in a .rpm, and path to owners."""
    files, owners = {}, {}
    for line in run("rpm", "-qp", "--dump", package).splitlines():
        path, _, _, digest, mode, owner, group, *_ = line.split()
        owners[path] = (owner, group)
        if int(mode, 8) & 0o170000 == 0o100000:
            files[path] = (int(mode, 8) & 0o7777, digest)
    return files, owners


def test_two_makings_are_the_same_bytes(release, program, tmp_path):
    again = dist(program, tmp_path / "again")
    assert digests(release) == digests(again)
    kinds = {path.suffix for path in release.iterdir() if path.is_file()}
    assert kinds == {".deb", ".rpm", ".gz", ".json", ""}


def test_the_checksums_are_those_of_every_file(release):
    listed = run("sha256sum", "--check", "--strict", checksums.NAME, cwd=release).splitlines()
    assert {line.removesuffix(": OK") for line in listed} == set(digests(release)) - {checksums.NAME}


def test_both_packages_install_the_same(release):
    deb, texts = installed_by_deb(only(release, "*.deb"))
    rpm, owners = installed_by_rpm(only(release, "*.rpm"))
    rpm = {ZSH.get(path, path): found for path, found in rpm.items()}
    assert set(deb) - set(rpm) == ONLY_DEB
    assert set(rpm) - set(deb) == ONLY_RPM
    assert {path: deb[path] for path in set(deb) & set(rpm)} == {
        path: rpm[path] for path in set(deb) & set(rpm)
    }
    assert deb["/usr/bin/raas"][0] == 0o755
    assert deb[CONFIGURATION][0] == 0o640
    assert owners.pop(CONFIGURATION) == ("root", "raas")
    assert set(owners.values()) == {("root", "root")}
    assert run("rpm", "-qp", "--configfiles", only(release, "*.rpm")).split() == [CONFIGURATION]
    # No key is on, and the example vendor is no vendor.
    lines = [line for line in texts[CONFIGURATION].decode().splitlines() if not line.startswith("#")]
    assert {line for line in lines if line} == {"[redhat]", "[openshift]", "[aws]", "[pulpserver]"}
    assert f"#{EXAMPLE}" in texts[CONFIGURATION].decode().splitlines()
    units = {path.name for path in (ROOT / "deploy" / "systemd").iterdir()}
    assert {path.rsplit("/", 1)[1] for path in deb if "/systemd/system/" in path} == units
    pages = [path for path in deb if path.startswith("/usr/share/man/man1/")]
    assert {"/usr/share/man/man1/raas.1.gz", "/usr/share/man/man1/raas-serve.1.gz"} < set(pages)
    for text in ("bash-completion/completions/raas", "fish/vendor_completions.d/raas.fish"):
        assert b"raas" in texts[f"/usr/share/{text}"]


def test_no_script_uses_what_its_shell_lacks(release, tmp_path):
    deb = only(release, "*.deb")
    run("dpkg-deb", "--control", deb, tmp_path)
    scripts = {path.name: path.read_text() for path in tmp_path.iterdir() if path.stat().st_mode & 0o100}
    assert set(scripts) == {"postinst", "postrm", "prerm"}
    text = run("rpm", "-qp", "--scripts", only(release, "*.rpm"))
    parts = re.split(r"^(\w+) scriptlet \(using /bin/sh\):\n", text, flags=re.MULTILINE)[1:]
    scripts |= dict(zip(parts[::2], parts[1::2], strict=True))
    assert {"preinstall", "postinstall", "preuninstall", "postuninstall"} < set(scripts)
    for name, script in scripts.items():
        assert re.search(r"@[A-Za-z]+@", script) is None, name
        run("sh", "-n", "-c", script)
    # rpm would have taken `%U` for a macro of its own.
    assert "stat -c %U" in scripts["postinst"]
    assert "stat -c %U" in scripts["postinstall"]


def test_debians_own_checker_finds_no_error(release):
    done = result("lintian", "--allow-root", "--fail-on", "error", only(release, "*.deb"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sbom_names_every_crate_of_the_program(release, program):
    document = json.loads(only(release, "*.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    main = document["metadata"]["component"]
    assert main["hashes"] == [{"alg": "SHA-256", "content": digests(release)["x86_64/raas"]}]
    features = json.loads(run(program, "version", "--json"))["features"]
    command = ["cargo", "tree", "--locked", "--package", "raas", "--target", "x86_64-unknown-linux-gnu"]
    command += ["--no-default-features", "--features", ",".join(features)]
    listed = run(*command, "--edges", "normal", "--prefix", "none", "--format", "{p}", cwd=ROOT)
    crates = {tuple(line.split()[:2]) for line in listed.splitlines()}
    assert len(crates) > 200
    assert {(one["name"], f"v{one['version']}") for one in document["components"]} == crates
    references = {one["bom-ref"] for one in document["components"]}
    assert {one["ref"] for one in document["dependencies"]} == references | {main["bom-ref"]}
    needs = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert all(references >= set(needed) for needed in needs.values())
    # Everything is needed by something that the program needs.
    reached, todo = set(), [main["bom-ref"]]
    while todo:
        one = todo.pop()
        if one not in reached:
            reached.add(one)
            todo += needs[one]
    assert reached == set(needs)


def test_every_crate_of_others_is_among_the_licences(release):
    document = json.loads(only(release, "*.cdx.json").read_text())
    _, texts = installed_by_deb(only(release, "*.deb"))
    text = gzip.decompress(texts["/usr/share/doc/raas/third-party-licences.txt.gz"]).decode()
    others = [one for one in document["components"] if "hashes" in one]
    assert len(others) > 200
    for one in others:
        assert f"\n{one['name']} {one['version']} (" in text, one
    assert "Permission is hereby granted" in text


def test_the_archive_has_all_that_an_installation_by_hand_needs(release):
    (name,) = [path.name for path in release.glob("*.tar.gz")]
    folder = name.removesuffix(".tar.gz")
    with tarfile.open(release / name) as tar:
        members = {member.name.removeprefix(f"{folder}/"): member for member in tar}
        program = tar.extractfile(members["raas"]).read()
    assert program == (release / "x86_64" / "raas").read_bytes()
    assert members["raas"].mode == 0o755
    expected = {"LICENSE", "raas.cfg.template", "third-party-licences.txt", "man/man1/raas-push.1"}
    expected |= {"completions/raas.bash", "completions/raas.fish", "completions/_raas"}
    expected |= {"systemd/raas-serve.service", "systemd/raas.sysusers"}
    assert expected <= set(members)


def test_the_program_is_stripped_and_finds_its_debug_information(release):
    folder = release / "x86_64"
    sections = run("readelf", "--sections", "--wide", folder / "raas")
    assert ".symtab" not in sections
    assert ".gnu_debuglink" in sections
    assert ".symtab" in run("readelf", "--sections", "--wide", folder / "raas.debug")


def test_a_static_program_loads_no_module_for_names(tmp_path):
    # A module of another glibc ends a static program. This one ends every program.
    broken = tmp_path / "broken.c"
    broken.write_text("void abort(void);\n__attribute__((constructor)) static void end(void) { abort(); }\n")
    names = tmp_path / "names.rs"
    names.write_text(
        'use std::net::ToSocketAddrs as _; fn main() { ("here.test", 80).to_socket_addrs().unwrap(); }'
    )
    with new_root(tmp_path / "machine") as root:
        run("cc", "-shared", "-fPIC", "-o", root / "usr/lib/x86_64-linux-gnu/libnss_broken.so.2", broken)
        (root / "etc/nsswitch.conf").write_text("hosts: broken files\n")
        (root / "etc/hosts").write_text("192.0.2.1 here.test\n")
        for name, flags in (("plain", static.STATIC[:2]), ("release", static.STATIC)):
            command = ["rustc", "--target", static.X86_64.target, *flags, "-o", root / name, names]
            run(*command, cwd=ROOT)
        assert result("chroot", root, "/plain").returncode == -signal.SIGABRT
        assert result("chroot", root, "/release").returncode == 0


def test_a_release_never_takes_the_place_of_other_files(program, tmp_path):
    kept = tmp_path / "notes"
    kept.write_text("mine")
    done = result(sys.executable, ROOT / "deploy" / "dist.py", "--program", program, tmp_path)
    assert done.returncode == 1
    assert f"error: {tmp_path} has files, and no SHA256SUMS" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("tags", "is_modified", "expected"),
    [
        (["v1.2.0"], False, "1.2.0"),
        ([], False, "1.2.0~git20231114221320.0123abcd"),
        ([], True, "1.2.0~git20231114221320.0123abcd.modified"),
        (["v1.2.0"], True, "1.2.0~git20231114221320.0123abcd.modified"),
    ],
)
def test_the_version_is_that_of_the_tag_or_earlier(tags, is_modified, expected):
    version = source.version_of("1.2.0", tags, 1_700_000_000, "0123abcd" * 5, is_modified)
    assert version == expected
    if expected != "1.2.0":
        run("dpkg", "--compare-versions", version, "lt", "1.2.0")
        assert run("rpm", "--eval", f'%{{lua: print(rpm.vercmp("{version}", "1.2.0"))}}').strip() == "-1"


def test_a_tag_of_another_version_is_refused():
    with pytest.raises(source.ReleaseError, match=r"the tag v1\.3\.0, but Cargo\.toml says 1\.2\.0"):
        source.version_of("1.2.0", ["v1.3.0"], 0, "0" * 40, False)


def test_a_signature_holds_for_these_checksums_alone(tmp_path):
    sums, key = tmp_path / checksums.NAME, tmp_path / "key"
    sums.write_text(f"{'0' * 64}  raas.deb\n")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    signature = checksums.sign(sums, key)
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"releases@raas {(tmp_path / 'key.pub').read_text()}")
    # The command of docs/installing.md.
    verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "releases@raas"]
    verify += ["-n", "raas-release", "-s", "SHA256SUMS.sig"]
    assert " ".join(verify) in (ROOT / "docs" / "installing.md").read_text()

    def is_valid():
        return result(*verify, input=sums.read_text(), cwd=tmp_path).returncode == 0

    assert signature.name == "SHA256SUMS.sig"
    assert is_valid()
    sums.write_text(f"{'1' * 64}  raas.deb\n")
    assert not is_valid()
    with pytest.raises(source.ReleaseError, match="cannot sign"):
        checksums.sign(sums, tmp_path / "no-key")
