"""The papers' tables as runs: python -m sosr_timm.experiments list|run|status|report"""
