"""What stories share. Modules that need torch say so; everything else imports in milliseconds."""
