"""`mangaassist`: the operator's command. Plain boto3: the same words on AWS and on the embedded AWS."""
