"""The studio: a web page for every verb. Its jobs are the command line's own, each in a process of its own."""
