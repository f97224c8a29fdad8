"""What the demonstration says, in the reader's language."""

from __future__ import annotations

import os

_JAPANESE = {
    "1. A sample planter: a database of sensor readings, images, logs, settings":
        "1. 見本のプランターを作ります: センサーの記録(データベース)、画像、ログ、設定",
    "   {files} files, {size:.1f} MB in {path}": "   {files} 個のファイル、{size:.1f} MB: {path}",
    "2. What to protect, said once: demo/output/kuramori.toml":
        "2. 何を守るかを一度だけ書きます: demo/output/kuramori.toml",
    "3. The first backup, while the planter writes at full speed; a second place gets a copy":
        "3. 最初のバックアップ。プランターは全速力で書き続けています。二つ目の場所にも写しが入ります",
    "4. The planter lives on: new readings, new images, a changed setting, deleted and renamed files":
        "4. プランターの一日: 新しい記録と画像、設定の変更、ファイルの削除と改名",
    "5. The second backup: only what changed is stored": "5. 二回目のバックアップ: 変わった分だけが保存されます",
    "6. What there is, and whether all is well": "6. 何が保存されていて、すべて順調かどうか",
    "7. An accident: readings and images are lost. They are restored while the application has the database open":
        "7. 事故です。記録と画像が失われました。アプリがデータベースを開いたまま復元します",
    "   the open connection sees all {count} readings again":
        "   開いたままの接続から、{count} 件の記録がすべてまた見えます",
    "   the database DIFFERS": "   データベースは違っています",
    "8. Nothing was destroyed: the restore can be taken back": "8. 何も壊されていません。復元は取り消せます",
    "   the database and the images are as they were before the restore":
        "   データベースと画像は、復元する前の状態に戻りました",
    "   they DIFFER": "   違っています",
    "9. Both states are restored, each into a folder of its own": "9. 二つの時点を、それぞれ別のフォルダーに復元します",
    "10. Every byte of both places is read and verified": "10. 両方の場所を一バイト残らず読んで確かめます",
    "11. What a cleanup would remove": "11. クリーンアップが何を消すかを見ます",
    "12. The restored folders against the real ones": "12. 復元したものと元のものを比べます",
    "   {name}: {files} files and folders, equal byte for byte, with times, modes and owners":
        "   {name}: {files} 個のファイルとフォルダー。内容・時刻・権限・所有者まで、一バイトも違いません",
    "   {name}: {count} readings, of one instant, and SQLite finds nothing wrong":
        "   {name}: {count} 件の記録。ある一瞬の状態そのもので、SQLite の検査にも通りました",
    "   {name}: the database DIFFERS: its two tables do not fit together":
        "   {name}: データベースは違っています: 二つの表が合いません",
    "   {name} DIFFERS: {what}": "   {name} は違っています: {what}",
    "Done. Look at it yourself:": "できました。ご自分でもご覧ください:",
}


def say(text: str, **values: object) -> None:
    """Print a line in the reader's language."""
    language = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    chosen = _JAPANESE.get(text, text) if language.startswith("ja") else text
    print(chosen.format(**values), flush=True)
