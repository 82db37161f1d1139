"""One way to write files, and one way to read them back."""

import os
import resource
import signal
import stat

import pytest

from wnn_jax import files


def test_a_file_is_whole_or_what_it_was(tmp_path):
    path = tmp_path / "x"
    files.write(path, b"old")

    def broken():
        with files.writing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_the_users_umask_rules(tmp_path):
    old = os.umask(0o022)
    try:
        files.write(tmp_path / "x", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*nowhere/x: No such file"):
        files.write(tmp_path / "nowhere" / "x", b"")
    with pytest.raises(ValueError, match=r"cannot read .*nowhere"):
        files.read(tmp_path / "nowhere", 10)


def test_a_line_is_not_glued_to_half_a_line(tmp_path):
    path = tmp_path / "lines"
    files.append(path, "one")
    path.write_bytes(path.read_bytes() + b"ha")
    files.append(path, "two")
    assert path.read_text() == "one\nha\ntwo\n"


def test_a_full_disk_leaves_whole_lines():
    with pytest.raises(ValueError, match="cannot write /dev/full: No space left"):
        files.append("/dev/full", "one")


def test_a_larger_file_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="more than 10 bytes"):
        files.read(tmp_path / "x", 10)


def test_every_flipped_bit_and_every_cut_of_a_sealed_file_is_noticed():
    sealed = files.seal("toy", 3, b"contents")
    assert files.opened("toy", 3, sealed, "the toy") == b"contents"
    for bit in range(8 * len(sealed)):
        hurt = bytearray(sealed)
        hurt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(files.Damaged, match="the toy"):
            files.opened("toy", 3, bytes(hurt), "the toy")
    for cut in range(len(sealed)):
        with pytest.raises(files.Damaged, match="the toy"):
            files.opened("toy", 3, sealed[:cut], "the toy")
    with pytest.raises(files.Damaged, match="schema 3"):
        files.opened("toy", 4, sealed, "the toy")
    with pytest.raises(files.Damaged, match="holds a toy: give a car"):
        files.opened("car", 3, sealed, "the toy")


def test_a_place_is_checked_before_the_work(tmp_path):
    files.check_place(tmp_path / "x")
    files.check_place(tmp_path / "a" / "b" / "x", folders=True)
    with pytest.raises(ValueError, match=r"cannot write .*a/x: there is no folder .*a; make it"):
        files.check_place(tmp_path / "a" / "x")
    (tmp_path / "a").touch()
    for folders in (False, True):
        with pytest.raises(ValueError, match=r"a is not a folder; choose another place"):
            files.check_place(tmp_path / "a" / "x", folders)


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path):
    """A write that ends in the middle of a line, and room for the rest when the file is closed."""
    path = tmp_path / "lines"
    files.append(path, "one")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for room in range(1, 12):
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 + room, old[1]))
            with pytest.raises(ValueError, match="cannot write"):
                files.append(path, "a longer line")
            assert path.read_bytes() == b"one\n"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_names_may_be_as_long_as_the_disk_allows(tmp_path):
    name = "n" * 255
    files.check_place(tmp_path / name)
    files.write(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"
    with pytest.raises(ValueError, match="its name is too long"):
        files.check_place(tmp_path / (name + "n"))
    with pytest.raises(ValueError, match="File name too long; choose another place"):
        files.check_place(tmp_path / ("n" * 5000) / "x", folders=True)
    with pytest.raises(ValueError, match="its name is not UTF-8; choose another place"):
        files.check_place(tmp_path / "\udcff", folders=True)


def test_a_link_stays_and_its_file_is_written(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    for data in (b"new", b"newer"):
        files.write(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match="it is not a file"):
            files.read(path, 10)
