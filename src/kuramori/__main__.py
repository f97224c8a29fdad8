"""``python -m kuramori``."""

from kuramori.cli.main import main

if __name__ == "__main__":
    main()
