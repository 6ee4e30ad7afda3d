"""What everything stands on: names, arguments, types of numbers, the machine. Nothing of networks."""
