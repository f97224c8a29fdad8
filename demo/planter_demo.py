"""The main job, on real data: a sample planter is backed up, changed, backed up again, restored at
both times, and compared byte for byte.

Run it with ``make demo``. Everything lies in ``demo/output`` and can be looked at afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from planter_data import change_planter, make_planter
from tree_compare import describe_difference, read_tree

_ROOT = Path(__file__).resolve().parent
_OUTPUT = _ROOT / "output"
_PLANTER = _OUTPUT / "planter"
_REPOSITORY = _OUTPUT / "repository"
_PASSWORD = _OUTPUT / "password"

_JAPANESE = {
    "1. A sample planter: a database of sensor readings, images, logs, settings":
        "1. 見本のプランターを作ります: センサーの記録(データベース)、画像、ログ、設定",
    "   {files} files, {size:.1f} MB in {path}": "   {files} 個のファイル、{size:.1f} MB: {path}",
    "2. A new repository, encrypted with a password": "2. パスワードで暗号化されたリポジトリを作ります",
    "3. The first backup": "3. 最初のバックアップ",
    "4. The planter lives on: new readings, new images, a changed setting, deleted and renamed files":
        "4. プランターの一日: 新しい記録と画像、設定の変更、ファイルの削除と改名",
    "5. The second backup: only what changed is stored": "5. 二回目のバックアップ: 変わった分だけが保存されます",
    "6. What there is": "6. 保存されているもの",
    "7. Both states are restored, each into a folder of its own": "7. 二つの時点を、それぞれ別のフォルダーに復元します",
    "8. Every byte of the repository is read and verified": "8. リポジトリを一バイト残らず読んで確かめます",
    "9. The restored folders against the real ones": "9. 復元したものと元のものを比べます",
    "   {name}: {files} files and folders, equal byte for byte, with times, modes and owners":
        "   {name}: {files} 個のファイルとフォルダー。内容・時刻・権限・所有者まで、すべて同じです",
    "   {name} DIFFERS: {what}": "   {name} は違っています: {what}",
    "Done. Look at it yourself:": "できました。ご自分でもご覧ください:",
}


def _say(text: str, **values: object) -> None:
    language = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    chosen = _JAPANESE.get(text, text) if language.startswith("ja") else text
    print(chosen.format(**values), flush=True)


def _kuramori(*arguments: str) -> None:
    """Run the command as a user would, and show it."""
    shown = " ".join(argument.replace(str(_OUTPUT), "demo/output") for argument in arguments)
    print(f"   $ kuramori {shown}", flush=True)
    program = Path(sys.executable).parent / "kuramori"
    result = subprocess.run([str(program), *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8",
                            check=False)
    for line in result.stdout.splitlines():
        print(f"     {line}" if line else "", flush=True)
    if result.returncode != 0:
        sys.exit(f"kuramori {arguments[0]} ended with exit code {result.returncode}")


def _compare(name: str, kept: Path, restored: Path) -> bool:
    expected, found = read_tree(kept), read_tree(restored)
    difference = describe_difference(expected, found)
    if difference:
        _say("   {name} DIFFERS: {what}", name=name, what=difference)
        return False
    _say("   {name}: {files} files and folders, equal byte for byte, with times, modes and owners",
         name=name, files=len(expected))
    return True


def main() -> int:
    """Run the demonstration; return 0 if all is equal."""
    shutil.rmtree(_OUTPUT, ignore_errors=True)
    _OUTPUT.mkdir(parents=True)
    repository = ["--repo", str(_REPOSITORY), "--password-file", str(_PASSWORD)]

    _say("1. A sample planter: a database of sensor readings, images, logs, settings")
    make_planter(_PLANTER)
    files = [path for path in _PLANTER.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    _say("   {files} files, {size:.1f} MB in {path}", files=len(files), size=size, path="demo/output/planter")

    _say("2. A new repository, encrypted with a password")
    _PASSWORD.touch(mode=0o600)
    _PASSWORD.write_text("demonstration only\n")
    _kuramori("init", *repository)

    _say("3. The first backup")
    _kuramori("backup", *repository, "--tag", "morning", str(_PLANTER))
    subprocess.run(["cp", "-a", str(_PLANTER), str(_OUTPUT / "kept-morning")], check=True)

    _say("4. The planter lives on: new readings, new images, a changed setting, deleted and renamed files")
    change_planter(_PLANTER)

    _say("5. The second backup: only what changed is stored")
    _kuramori("backup", *repository, "--tag", "evening", str(_PLANTER))

    _say("6. What there is")
    _kuramori("snapshots", *repository)

    _say("7. Both states are restored, each into a folder of its own")
    for name in ("morning", "evening"):
        _kuramori("restore", *repository, "--tag", name, "--target", str(_OUTPUT / f"restored-{name}"), "--verify",
                  f"latest:{_PLANTER}")

    _say("8. Every byte of the repository is read and verified")
    _kuramori("check", *repository, "--read-data")

    _say("9. The restored folders against the real ones")
    equal = [_compare("morning", _OUTPUT / "kept-morning", _OUTPUT / "restored-morning"),
             _compare("evening", _PLANTER, _OUTPUT / "restored-evening")]
    if not all(equal):
        return 1
    print()
    _say("Done. Look at it yourself:")
    print("   ls -lR demo/output/restored-evening")
    print("   venv/bin/kuramori --repo demo/output/repository --password-file demo/output/password ls latest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
