"""The entry point of `carcls` and `python -m carcls.cli`."""

from carcls.cli.program import main

if __name__ == "__main__":
    main()
