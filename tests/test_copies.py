"""Copies of the project: a ZIP, a shallow clone, inside another repository, in folders of any name."""

import filecmp
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_shapes, run, shrunken

from carcls.experiment import make_collectable

PERSON = {f"GIT_{role}_{key}": "t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
TRACKED = subprocess.run(
    ["git", "ls-files", "-z", "--stage"], cwd=ROOT, capture_output=True, text=True
).stdout

pytestmark = pytest.mark.skipif(not TRACKED, reason="only Git knows which files belong to the project")


def done(folder: Path, *command: str, **environment: str) -> str:
    result = run(folder, *command, **PERSON, **environment)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def kept(folder: Path) -> set[str]:
    return set(done(folder, "dvc", "exp", "list", "--name-only").split())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A repository of two commits: the files of the project, and `download` of a few photographs."""
    top = tmp_path_factory.mktemp("copies")
    draw_shapes(top / "photographs", 4)
    for entry in TRACKED.rstrip("\0").split("\0"):
        name = entry.partition("\t")[2]
        (top / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, top / "project" / name)
    (top / "project/dvc.lock").unlink()  # names data that is not in the cache here
    settings = shrunken({("data", "source"): "folder", ("data", "folder"): str(top / "photographs")})
    (top / "project/params.yaml").write_text(yaml.safe_dump(settings.model_dump()))
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=first")):
        done(top / "project", "git", *command)
    done(top / "project", "dvc", "repro", "download")
    done(top / "project", "git", "add", "dvc.lock")
    done(top / "project", "git", "commit", "--quiet", "--message=second")
    return top / "project"


@pytest.fixture
def python(tmp_path) -> str:
    """For `make PYTHON=...`: its .venv runs this Python, without pip, and only `download` of `dvc repro`."""
    path = tmp_path / "python"
    path.write_text(f"""#!/bin/sh
mkdir -p .venv/bin
cat >.venv/bin/python <<'END'
#!/bin/sh
case "$*" in
  "-m pip "*) ;;
  "-m dvc repro") exec "{sys.executable}" -m dvc repro --force download ;;
  *) exec "{sys.executable}" "$@" ;;
esac
END
chmod +x .venv/bin/python
""")
    path.chmod(0o755)
    return str(path)


def unpack(project: Path, folder: Path) -> Path:
    """`folder` with the files of the last commit, from a ZIP, without links and modes."""
    folder.mkdir(parents=True)
    archive = folder.with_suffix(".zip")
    done(project, "git", "archive", f"--output={archive}", "HEAD")
    zipfile.ZipFile(archive).extractall(folder)
    return folder


def test_the_repository_consists_of_plain_files():
    modes = {entry.split()[0] for entry in TRACKED.rstrip("\0").split("\0")}
    assert modes <= {"100644", "100755"}


def test_git_does_not_convert_line_endings(project, tmp_path):
    convert = ("--config=core.autocrlf=true", "--config=core.eol=crlf")
    done(tmp_path, "git", "clone", "--quiet", *convert, str(project), "clone")
    files = done(project, "git", "ls-files").splitlines()
    assert filecmp.cmpfiles(project, tmp_path / "clone", files, shallow=False) == (files, [], [])


def test_a_zip_inside_an_unrelated_repository_works_without_git(project, tmp_path, python):
    done(tmp_path, "git", "init", "--quiet")
    folder = unpack(project, tmp_path / "cars")
    assert "usage: carcls" in done(folder, sys.executable, "-m", "carcls.cli", "--help")
    done(folder, "make", "repro", f"PYTHON={python}")
    assert (folder / "data/raw.tar").exists()
    assert "no_scm = true" in (folder / ".dvc/config.local").read_text()
    assert done(tmp_path, "git", "for-each-ref") == ""


def test_experiments_run_in_a_folder_of_a_larger_repository(project, tmp_path, python):
    done(tmp_path, "git", "init", "--quiet")
    folder = unpack(project, tmp_path / "ml/cars")
    done(tmp_path, "git", "add", "ml")
    done(tmp_path, "git", "commit", "--quiet", "--message=all")
    done(folder, "make", ".venv/ready", f"PYTHON={python}")
    done(folder, "dvc", "exp", "run", "--temp", "--name=inside", "--set-param=seed=2", "download")
    assert kept(folder) == {"inside"}


def test_a_shallow_clone_keeps_its_experiments(project, tmp_path):
    done(tmp_path, "git", "clone", "--quiet", "--depth=1", f"file://{project}", "clone")
    folder = tmp_path / "clone"
    done(folder, "dvc", "exp", "run", "--temp", "--name=one", "--set-param=seed=2", "download")
    assert kept(folder) == {"one"}
    done(folder, "dvc", "exp", "branch", "one", "kept")
    assert "seed: 2" in done(folder, "git", "show", "kept:params.yaml")
    assert done(folder, "git", "rev-parse", "--is-shallow-repository").strip() == "true"
    done(folder, "git", "fsck")


def test_a_shallow_clone_gets_what_dvc_stored_before_a_stage_starts(project, tmp_path, monkeypatch):
    done(tmp_path, "git", "clone", "--quiet", "--depth=1", f"file://{project}", "clone")
    copy = tmp_path / "clone/.dvc/tmp/exps/standalone/copy"
    done(tmp_path, "git", "init", "--quiet", str(copy))
    (copy / "dvc.lock").write_text("of a stage that DVC took from its cache")
    stored = done(copy, "git", "hash-object", "-w", "dvc.lock").strip()
    monkeypatch.chdir(copy)
    make_collectable()
    assert done(tmp_path / "clone", "git", "cat-file", "blob", stored) == (copy / "dvc.lock").read_text()


def test_an_experiment_that_dvc_would_lose_is_rejected(project, tmp_path):
    done(tmp_path, "git", "clone", "--quiet", str(project), "my%20cars")
    folder = tmp_path / "my%20cars"
    lost = run(folder, "dvc", "exp", "run", "--temp", "--set-param=seed=2", "download", **PERSON)
    assert lost.returncode != 0
    assert "Rename the folder" in lost.stderr + lost.stdout and not (folder / "data/raw.tar").exists()


def test_make_works_in_a_folder_of_any_name_without_an_environment(project, tmp_path, python):
    folder = tmp_path / """-it's "my" $HOME `cars` ä"""
    done(tmp_path, "git", "clone", "--quiet", "--", str(project), str(folder))
    said = done(folder, "make", "repro", f"PYTHON={python}", PATH=os.defpath)
    assert f"The report: {folder}/report/index.html" in said
    assert (folder / "data/raw.tar").exists()
