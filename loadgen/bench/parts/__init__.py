"""The parts of ./bench, one file each: `measure` measures, and gives back an Outcome."""
