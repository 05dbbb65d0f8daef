"""What the answers say: the study's tables, figures and pages. Nothing here needs tensors.

From the ground up: a module imports only those before it.

    naming       make, type and year out of class names
    analysis     intervals, calibration and confusions out of predictions
    paper        the paper's numbers
    wording      how a score, an architecture and a variant are written
    figures      every drawn figure
    report       all of it on one page
    plots_page   the template of DVC's plots page, with Vega inside
"""
