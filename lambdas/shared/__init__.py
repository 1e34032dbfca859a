"""What several functions need; staged beside each of them. boto3 is imported at first use."""
