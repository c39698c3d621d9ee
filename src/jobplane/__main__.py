"""`python -m jobplane` is the command `jobplane`."""

from jobplane.cli.main import run

if __name__ == "__main__":
    run()
