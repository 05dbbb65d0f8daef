"""The web page: a thin face over the library, opened by `carcls web`."""
