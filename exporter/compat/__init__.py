"""What releases of the runtimes can load: facts with their sources, and what a program needs."""
