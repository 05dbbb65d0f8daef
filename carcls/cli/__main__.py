"""`python -m carcls.cli` is `carcls`."""

from carcls.cli.program import main

if __name__ == "__main__":
    main()
