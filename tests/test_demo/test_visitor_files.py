"""What the demo keeps of visitors' files, for whom and for how long."""

import io
import os
from pathlib import Path

import pytest

from lira_plugin.demo.visitor_files import VisitorFiles, remove_oldest


@pytest.fixture
def files(tmp_path):
    return VisitorFiles(tmp_path / "uploads", max_files=3, max_bytes=100, max_age=60)


def save(files, visitor="ann", name="a.png", content=b"1234", age=0):
    path = files.save(visitor, name, io.BytesIO(content))
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    return path


def test_a_file_is_its_visitors(files):
    path = save(files)
    assert path.read_bytes() == b"1234"
    assert files.find(str(path), "ann") == files.find(str(path)) == path
    assert files.may_have("ann", str(path)) and not files.may_have("bob", str(path))
    for wrong in (path, None, 1, [str(path)], "", "/", "\0", "\ud800", "a" * 5000, f"{path}/", f"{path.parent}//a.png"):
        with pytest.raises(ValueError, match="upload it"):
            files.find(wrong, "ann")
    with pytest.raises(ValueError, match="upload it"):
        files.find(str(path), "bob")


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(__file__), lambda path: path.symlink_to(path)]
)
def test_what_is_no_regular_file_is_not_found(files, make):
    path = save(files).with_name("b.png")
    make(path)
    with pytest.raises(ValueError, match="upload it"):
        files.find(str(path), "ann")


def test_equal_files_and_names_have_paths_of_their_own(files):
    assert save(files) != save(files)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../a b.png", "a b.png"),
        ("C:\\b\\a.png", "a.png"),
        ("Äpfel (2).JPG", "Äpfel (2).JPG"),
        ("..", "image"),
        ("", "image"),
        (".htaccess", "htaccess"),
        ("a<b>&'\"\n\0.png", "a_b______.png"),
        ("x" * 300 + ".png", "x" * 50 + ".png"),
        ("\ud800.png", "_.png"),
    ],
)
def test_names_are_made_harmless(files, given, kept):
    assert save(files, name=given).name == kept


def test_the_oldest_go_when_there_are_too_many(files):
    paths = [save(files, age=age) for age in (30, 20, 10)]
    files.find(str(paths[0]))  # which makes it the newest
    save(files)
    assert [path.exists() for path in paths] == [True, False, True]
    assert not paths[1].parent.exists()


def test_the_oldest_go_when_they_are_too_large(files):
    paths = [save(files, content=bytes(40), age=age) for age in (20, 10)]
    save(files, content=bytes(50))
    assert [path.exists() for path in paths] == [False, True]
    with pytest.raises(ValueError, match="101 bytes, the demo keeps 100 at most"):
        save(files, content=bytes(101))
    assert paths[1].exists()


def test_what_is_not_used_goes_after_a_while(files):
    old, new = save(files, age=61), save(files, age=59)
    files.tidy()
    assert (old.exists(), new.exists()) == (False, True)


def test_what_was_made_is_for_whom_it_was_made_for_and_goes_as_well(files, tmp_path):
    made = [tmp_path / f"{index}.png" for index in range(5)]
    for index, path in enumerate(made):
        path.write_bytes(b"1")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - index))
        files.add_made("ann", str(path))
    files.add_made("bob", str(made[0]))
    assert files.may_have("ann", str(made[0])) and files.may_have("bob", str(made[0]))
    assert not files.may_have("bob", str(made[1])) and not files.may_have("ann", str(Path(__file__)))
    files.tidy()
    assert (
        [files.may_have("ann", str(path)) for path in made]
        == [path.exists() for path in made]
        == [True] * 3 + [False] * 2
    )
    made[0].unlink()
    made[0].symlink_to(made[1])
    assert not files.may_have("ann", str(made[0]))


def test_files_that_are_gone_already_do_not_matter(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"1")
    remove_oldest([tmp_path / "none", tmp_path / "a" / "b"], 0, 0, 0)
    assert list(tmp_path.iterdir()) == []
