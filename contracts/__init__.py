"""What all parts of MangaAssist agree on: pure Python, standard library only.

No AWS, no CDK, no torch: a Lambda, a training container, a template and a laptop
command all import the same words from here.
"""
