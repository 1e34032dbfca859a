"""`mangaassist`: the operator's command. Plain boto3, so the same words work on AWS and on the embedded AWS."""
