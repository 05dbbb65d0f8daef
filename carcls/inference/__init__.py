"""A trained model on images of the user's own.

From the bottom up: a module imports only those before it.

    classifier   the answers of a model file, as the command line and the page give them
    export       the model as ONNX
"""
