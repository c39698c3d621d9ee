"""`python -m jobplane` and the command `jobplane` are one."""

import sys


def main() -> None:
    """Run the command line, or say how to install it."""
    try:
        from jobplane.cli.main import run  # noqa: PLC0415 - the extra may be missing, and that deserves a sentence
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        sys.exit("error: the command line needs two more packages: pip install 'jobplane[cli]'")
    run()


if __name__ == "__main__":
    main()
