"""What is special to the speed of a CPU: weights and maps laid out as its kernels want them."""
