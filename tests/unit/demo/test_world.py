import os
from pathlib import Path

from demo import world


def test_a_demo_leaves_the_folder_of_a_running_one_alone(tmp_path: Path) -> None:
    mine = tmp_path / ".demo-mine"
    mine.mkdir()
    world.claim(mine)
    world.sweep(tmp_path, ".demo-")
    assert mine.exists()


def test_what_a_killed_demo_left_is_removed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    left, unclaimed = tmp_path / ".demo-left", tmp_path / ".demo-unclaimed"
    for folder in (left, unclaimed):
        folder.mkdir()
    (left / world.OWNER).write_text(str(child))
    world.sweep(tmp_path, ".demo-")
    assert list(tmp_path.iterdir()) == []
