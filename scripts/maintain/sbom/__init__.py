"""Write what a release says about its packages: SBOMs and licence lists."""
