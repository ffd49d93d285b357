"""CUDA kernels through CuPy. Imported only once a CuPy array has arrived: nothing here asks whether CuPy exists."""
