"""PostgreSQL's own regression suite, from Debian's source package, in a folder that is never committed."""
import glob
import os
import re
import shutil
import subprocess

MAJOR = 15
INCLUDES = f"/usr/include/postgresql/{MAJOR}/server"
PG_REGRESS = f"/usr/lib/postgresql/{MAJOR}/lib/pgxs/src/test/regress/pg_regress"
# The C functions that the suite loads: its own, and two of contrib's examples.
LIBRARIES = ("src/test/regress/regress.c", "contrib/spi/autoinc.c", "contrib/spi/refint.c")


def mirrors():
    """Where this machine's own packages of Debian come from: pairs of URI and suite."""
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN) $(COMPONENT)", "Created-By: Packages"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    found = sorted({tuple(line.split()[:2]) for line in lines if line.endswith(" Debian main")})
    if not found:
        raise RuntimeError("apt knows no source of Debian's main packages; run apt-get update")
    return found


def apt(folder):
    """Options of an apt that knows deb-src lines of its own and leaves the system's alone."""
    parts = os.path.join(folder, "apt/parts")
    os.makedirs(parts, exist_ok=True)
    os.makedirs(os.path.join(folder, "apt/lists/partial"), exist_ok=True)
    with open(os.path.join(parts, "src.sources"), "w", encoding="utf-8") as file:
        for uri, suite in mirrors():
            file.write(f"Types: deb-src\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n")
    return ["-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}", "-o", f"Dir::State::lists={folder}/apt/lists"]


def download(folder):
    options = apt(folder)
    subprocess.run(["apt-get", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run(["apt-cache", *options[1:], "showsrc", f"postgresql-{MAJOR}"], check=True, capture_output=True, text=True).stdout
    # The newest may have left the mirror already; any minor version's suite serves, for two runs of it are compared.
    for version in sorted(set(re.findall(r"^Version: (.*)$", shown, re.M)), reverse=True):
        if subprocess.run(["apt-get", *options, "source", "--download-only", f"postgresql-{MAJOR}={version}"], cwd=folder, check=False, capture_output=True).returncode == 0:
            return
    raise RuntimeError(f"no source of postgresql-{MAJOR} could be downloaded")


def prepare(folder):
    """Returns the folder of the suite, ready to run, below `folder`."""
    os.makedirs(folder, exist_ok=True)
    if not glob.glob(f"{folder}/postgresql-{MAJOR}_*.orig.tar.bz2"):
        download(folder)
    root = os.path.join(folder, "postgresql")
    if not os.path.exists(os.path.join(root, "ready")):
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        archive = sorted(glob.glob(f"{folder}/postgresql-{MAJOR}_*.orig.tar.bz2"))[-1]
        subprocess.run(["tar", "-xjf", archive, "-C", root, "--strip-components=1", "--wildcards", "*/src/test/regress/*", "*/contrib/spi/*"], check=True)
        for library in LIBRARIES:
            target = os.path.join(root, "src/test/regress", os.path.basename(library)[:-2] + ".so")
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", INCLUDES, os.path.join(root, library), "-o", target], check=True)
        with open(os.path.join(root, "ready"), "w", encoding="utf-8"):
            pass
    return os.path.join(root, "src/test/regress")
