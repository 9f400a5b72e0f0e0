from __future__ import annotations

import errno

from imagemint.errors import PackError, mendable


def test_an_error_is_one_line_with_its_three_parts() -> None:
    line = str(PackError("a\nb", "c", "d"))
    assert line == "a b; wanted c; d"


def test_a_full_disk_is_the_users_and_a_bad_descriptor_is_ours() -> None:
    full = mendable(OSError(errno.ENOSPC, "No space left on device", "x.npy"))
    assert full is not None
    assert "disk is full at x.npy" in str(full)
    assert mendable(OSError(errno.EBADF, "Bad file descriptor")) is None
