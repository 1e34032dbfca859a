"""Step Functions: moto's ASL interpreter under ministack's API, with what the interpreter gets wrong mended."""
