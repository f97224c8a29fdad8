"""The catalogues of messages: extract, update, compile, check (with Babel).

    python tools/catalogue.py update    take new texts of the sources into the .po files
    python tools/catalogue.py compile   make the .mo files from them
    python tools/catalogue.py check     fail unless all is complete and in step
"""

from __future__ import annotations

import io
import re
import string
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

_ROOT = Path(__file__).resolve().parents[1]
_SOURCE = _ROOT / "src" / "kuramori"
_LANGUAGES = ("en", "ja")
_KEYWORDS = {"_": None, "N_": None, "translate": None, "translate_count": (1, 2),
             "counted": (1, 2)}


def _paths(language: str) -> tuple[Path, Path]:
    folder = _SOURCE / "locale" / language / "LC_MESSAGES"
    return folder / "kuramori.po", folder / "kuramori.mo"


def extract() -> Catalog:
    """Return a catalogue of every text in the sources, without translations."""
    template = Catalog(project="kuramori", charset="utf-8", fuzzy=False)
    for name, line, message, comments, context in extract_from_dir(
            _SOURCE, method_map=[("**.py", "python")], keywords=_KEYWORDS):
        if message:
            template.add(message, locations=[(name, line)], auto_comments=comments, context=context)
    return template


def load(language: str) -> Catalog:
    """Return the catalogue of a language, as its .po file has it."""
    path = _paths(language)[0]
    if not path.exists():
        return Catalog(locale=language, project="kuramori", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def update() -> None:
    """Take new texts into the .po files, and drop those that are gone. English is the text itself."""
    for language in _LANGUAGES:
        catalogue = load(language)
        made = catalogue.creation_date
        catalogue.update(extract(), no_fuzzy_matching=True)
        catalogue.creation_date = made  # only what changed shall change the file
        catalogue.obsolete.clear()
        if language == "en":
            for message in catalogue:
                if message.id:
                    message.string = message.id
        path = _paths(language)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, no_location=True, omit_header=False, width=110, sort_output=True)
        missing = [message.id for message in catalogue if message.id and not _complete(message.string)]
        print(f"{language}: {len(catalogue)} texts, {len(missing)} without a translation")
        for text in missing:
            print(f"    {text!r}")


def compile_all() -> None:
    """Make the .mo files."""
    for language in _LANGUAGES:
        path = _paths(language)[1]
        path.write_bytes(_compiled(load(language)))


def _compiled(catalogue: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def _complete(translation: object) -> bool:
    if isinstance(translation, (tuple, list)):
        return bool(translation) and all(translation)
    return bool(translation)


def _placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def problems() -> list[str]:
    """Return what is wrong with the catalogues; an empty list if nothing is."""
    found = []
    wanted = {message.id for message in extract() if message.id}
    for language in _LANGUAGES:
        catalogue = load(language)
        present = {message.id for message in catalogue if message.id}
        found += [f"{language}: not in the catalogue: {text!r}" for text in sorted(map(str, wanted - present))]
        found += [f"{language}: no longer in the sources: {text!r}" for text in sorted(map(str, present - wanted))]
        for message in catalogue:
            found += _message_problems(language, message.id, message.string)
        found += _compiled_problems(language, catalogue)
    return found


def _message_problems(language: str, original: object, translation: object) -> list[str]:
    if not original:
        return []
    if not _complete(translation):
        return [f"{language}: no translation of {original!r}"]
    forms = original if isinstance(original, (tuple, list)) else [str(original)]
    translations = translation if isinstance(translation, (tuple, list)) else [str(translation)]
    return [f"{language}: other placeholders than in {forms[0]!r}: {text!r}" for text in translations
            if _placeholders(text) not in [_placeholders(form) for form in forms]]


def _compiled_problems(language: str, catalogue: Catalog) -> list[str]:
    path = _paths(language)[1]
    if not path.exists():
        return [f"{language}: kuramori.mo is missing"]
    with path.open("rb") as file:
        compiled = read_mo(file)
    # Message by message: the headers tell the version of Babel, and that is not the same everywhere.
    same = _translations(compiled) == _translations(catalogue)
    return [] if same else [f"{language}: kuramori.mo is not what kuramori.po says; run: make catalogue"]


def _translations(catalogue: Catalog) -> dict[object, object]:
    return {_texts(message.id): _texts(message.string) for message in catalogue if message.id and message.string}


def _texts(text: object) -> object:
    return tuple(text) if isinstance(text, (list, tuple)) else text


def main() -> None:
    """Do what the argument says."""
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    if re.fullmatch("update|compile|check", action) is None:
        sys.exit(__doc__)
    if action == "update":
        update()
    elif action == "compile":
        compile_all()
    else:
        found = problems()
        print("\n".join(found) or "the catalogues are complete and in step with the sources")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
