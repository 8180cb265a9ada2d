"""The registry: files are names."""

import sys

import pytest

from radkit import folder
from radkit.errors import UserError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Returns the name of a package with files `one`, `two`, `_hidden` and a sub-package."""
    root = tmp_path / "made_up_package"
    (root / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": "", "one": "build = 1", "two": "other = 2", "_hidden": "build = 3", "inner/__init__": "build = 4",
        "broken": "def (", "needy": "import no_such_package_at_all",
    }.items():  # fmt: skip
        (root / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield root.name
    for name in [m for m in sys.modules if m.startswith(root.name)]:
        del sys.modules[name]


def test_files_are_names_but_hidden_ones_and_packages_are_not(package):
    assert folder.names(package) == ["broken", "needy", "one", "two"]


def test_a_name_is_found(package):
    assert folder.find(package, "one", "build") == 1


def test_code_outside_is_found(package):
    assert folder.find("radkit.dicom", f"{package}.two:other", "build") == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oen", r"has no 'oen' \(did you mean 'one'\?\); there are: broken, needy, one, two"),
        ("", "there are: "),
        ("_hidden", "has no '_hidden'"),
        ("two", "defines no 'build'"),
        ("no_such_package_at_all:build", "cannot be imported.*PYTHONPATH"),
        (":build", "cannot be imported"),
        (".one:build", "cannot be imported"),
        ("made_up_package.one:", "defines no ''"),
        ("made_up_package.one:none", "defines no 'none'"),
        ("made_up_package.broken:build", "cannot be imported"),
        ("made_up_package.needy:build", "no_such_package_at_all"),
    ],
)
def test_a_wrong_name_is_refused(package, name, said):
    with pytest.raises(UserError, match=said):
        folder.find(package, name, "build")


def test_a_file_that_ends_the_program_is_refused(package, tmp_path):
    (tmp_path / package / "leaving.py").write_text("import sys\n\nsys.exit(3)\n")
    with pytest.raises(UserError, match=r"leaving' cannot be imported: it ends the program \(SystemExit: 3\)"):
        folder.find("radkit.dicom", f"{package}.leaving:build", "build")
