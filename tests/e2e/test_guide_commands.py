"""The commands of the smart-planter guide, as it writes them, from the root of the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_MANAGER = """
from src.backup.backup_manager import BackupManager
manager = BackupManager('{folder}')
result = manager.create_full_backup()
print(f'バックアップ結果: {{result}}')
"""
_SCHEDULER = """
from src.backup.backup_manager import BackupManager
from src.backup.backup_scheduler import BackupScheduler

manager = BackupManager('{folder}')
scheduler = BackupScheduler(manager)
scheduler.start_scheduler()
time.sleep(5)
status = scheduler.get_scheduler_status()
print(f'スケジューラー状態: {{status}}')
scheduler.stop_scheduler()
"""


def _run(program: str, folder: Path) -> str:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state"),
                   "LC_ALL": "C.UTF-8"}
    done = subprocess.run([sys.executable, "-c", program.format(folder=folder / "backup_test")], cwd=ROOT,
                          env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_backup_command(tmp_path: Path) -> None:
    """The guide's folders do not exist here, and that is said, in the guide's words."""
    printed = _run(_MANAGER, tmp_path)
    assert printed.startswith("バックアップ結果: {'success': False")
    assert "ソースパスが存在しません: /mnt/usb-storage/images" in printed


def test_the_scheduler_command(tmp_path: Path) -> None:
    """It uses ``time`` without importing it, and runs all the same."""
    printed = _run(_SCHEDULER, tmp_path)
    assert printed.startswith("スケジューラー状態: {'running': True")
