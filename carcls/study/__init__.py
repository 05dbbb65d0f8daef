"""Tables, figures and pages of the study, made from predictions and metrics. Nothing here needs tensors.

From the bottom up: a module imports only those before it.

    naming       parse make, type and year from class names
    analysis     intervals, calibration and confusions, computed from predictions
    paper        the numbers of the paper
    wording      formatted scores and names of architectures and variants
    fonts        fallback fonts for characters that the font of the figures lacks
    figures      all figures
    heat         heat maps drawn over images
    run          the files of a run
    pictures     images of a run with their predictions
    report       the report, a single HTML page
    plots_page   the template of DVC's plots page, with Vega embedded
"""
