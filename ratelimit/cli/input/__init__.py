"""What a command is given: policy files, apps."""
