"""Image sets as the stages exchange them.

From the bottom up: a module imports only those before it.

    images      one image: bytes to upright RGB pixels and back
    operations  one image: flip, brightness, noise, blur and others
    archive     an image set on disk: one tar and one csv
"""
