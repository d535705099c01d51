"""CPU, memory and Redis commands of a measurement, and the machine it ran on."""
