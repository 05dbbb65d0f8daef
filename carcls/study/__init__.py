"""What the answers say: the study's tables, figures and pages. Nothing here needs tensors.

From the ground up: a module imports only those before it.

    naming       make, type and year out of class names
    analysis     intervals, calibration and confusions out of predictions
    paper        the paper's numbers
    wording      how a score, an architecture and a variant are written
    fonts        installed fonts for characters that the figures' font lacks
    figures      every drawn figure
    heat         heat maps of where a model looks, as a table and as pictures
    run          the files of a run
    pictures     its images beside what was answered to them
    report       all of it on one page
    plots_page   the template of DVC's plots page, with Vega inside
"""
