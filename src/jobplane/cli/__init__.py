"""The command line: one file for each group of verbs, joined in main.py. Needs the extra jobplane[cli].

What all of them share: options.py (where the database is), failures.py (errors become one line and an exit
code), output.py (tables for people, JSON for programs).
"""
