"""A model of one's own photographs: from a folder of classes to a results folder.

From the ground up: a module imports only those before it.

    tested     a trained model on a test set, clean and attacked, as the files that the report reads
    settings   what is asked for over the preset for photographs, as checked params
    folder     the results folders: their names and what they hold
    train      from photographs to a model and its report
    evaluate   a trained model on labelled photographs that it has not seen
"""
