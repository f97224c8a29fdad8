"""``python -m kuramori``."""

from kuramori.cli.entry import main

if __name__ == "__main__":
    main()
