"""US-MLE-01: prepare, train, evaluate, inference."""
