"""The papers' tables as runs: python -m experiments list|run|status|report"""
