"""An edited policy file is in force while the process runs, whole or not at all. Read watch.py first."""
