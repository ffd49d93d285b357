"""Readers and writers of other people's files. Every reader takes damaged and hostile files for granted."""
