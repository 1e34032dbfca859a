"""An embedded AWS: it reads a CDK assembly, speaks AWS APIs on localhost, and knows nothing of the app it runs."""
